//! Tests of the texts that literals are searched in.

use super::*;
use crate::view::ViewContext;
use http_trace_model::field::rule_fields;
use http_trace_samples as testing;

/// A field whose values are not substrings of the searched texts would never match by literals.
#[test]
fn values_that_literals_stand_for_are_parts_of_the_texts() {
    let names = rule_fields().flat_map(|field| field.about().rules);
    let fields: Vec<Field> = names.filter_map(|name| Field::named(name)).collect();
    let mut seen = 0;
    for target in [
        "/",
        "/users/17/a.tar.gz?x=1&y=2",
        "/?q=%253Cscript%3e+%27/**/or",
        "/a%2e%2e/%c0%ae?one=two",
        "http://other.example:8080",
        "http://other.example/b/9.php?z",
        "*",
        "",
    ] {
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: Shop.Example:81\r\nUser-Agent: a b\r\nCookie: c=d\r\n\
             Referer: http://h/\r\nAuthorization: Basic YTpi\r\n\r\n"
        );
        let response = "HTTP/1.1 200 x\r\nContent-Type: Text/HTML; a=b\r\nSet-Cookie: e=f\r\n\r\n";
        let event = testing::event_of(testing::request(&head), testing::response(response));
        let uri = ViewContext::default();
        let view = View::new(&event, &uri);
        for field in &fields {
            let source = Source::of(field);
            if !source.has_text_of(Some(field)) {
                continue;
            }
            view.any(field, &mut |value| {
                value.with_text(|value| {
                    let is_part = |text: &[u8]| memchr::memmem::find(text, value).is_some();
                    let mut found = false;
                    source.texts(&view, &mut |text| {
                        found |= is_part(text);
                        false
                    });
                    let value = String::from_utf8_lossy(value);
                    assert!(found, "{field:?} of {target}: {value}");
                });
                seen += 1;
                false
            });
        }
    }
    assert!(seen > 100, "{seen}");
}
