//! Resolves field names in rules. Has a table of fields that public rules use and that no event has, with the
//! reasons. Does not look at values.

use super::diagnose::{Finding, did_you_mean};
use crate::field::Field;

pub(super) fn field(name: &str) -> Result<Field, Finding> {
    Field::named(name).ok_or_else(|| {
        let mut unseen = UNSEEN.iter();
        let unseen = unseen.find(|(known, _)| known.eq_ignore_ascii_case(name));
        Finding::error(
            name,
            match unseen {
                Some((_, why)) => format!("'{name}' is not available: {why}"),
                None => {
                    let near = did_you_mean(Field::suggestion(name));
                    format!("unknown field '{name}'{near}")
                }
            },
        )
    })
}

/// Reason for fields of response bodies.
const BODY: &str = "only the first bytes of response bodies are available, with --body-snippet, as \
                    http.response.body.content; use that, or remove the selection or the rule";

/// Reason for fields of request bodies.
const REQUEST_BODY: &str = "request bodies are not available; remove the selection or the rule";

/// Reason for decisions of a firewall or proxy.
const VERDICT: &str = "decisions of firewalls and proxies are not on the wire; match sc-status, or \
                       remove the rule";

/// Reason for facts that only the client's host knows.
const CLIENT: &str = "it is only known on the client's host; remove the selection or the rule";

/// Names that no event has, and why.
const UNSEEN: &[(&str, &str)] = &[
    ("cs-body", REQUEST_BODY),
    ("sc-body", BODY),
    ("body", BODY),
    ("request_body", REQUEST_BODY),
    ("response_body", BODY),
    ("response", BODY),
    ("post_body", REQUEST_BODY),
    ("page_title", BODY),
    ("http.request.body.content", REQUEST_BODY),
    ("action", VERDICT),
    ("sc-action", VERDICT),
    ("s-action", VERDICT),
    ("attack_type", VERDICT),
    ("cs-categories", VERDICT),
    ("sc-filter-result", VERDICT),
    ("x-virus-id", VERDICT),
    ("c-dns", CLIENT),
    ("c-process", CLIENT),
    ("image", CLIENT),
    ("commandline", CLIENT),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_event_has_is_not_a_field_too() {
        for (name, why) in UNSEEN {
            assert_eq!(Field::named(name), None, "{name}");
            let finding = field(&name.to_uppercase()).expect_err("no field");
            assert!(finding.message.ends_with(why), "{finding:?}");
        }
        assert_eq!(field("sc-status"), Ok(Field::Status));
    }
}
