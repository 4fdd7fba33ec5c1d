//! Responses by service, method and URL template, if enabled. Takes redacted events, because a path may
//! contain a secret. Endpoints beyond the limit count as [`OTHER`]; endpoints that only ever returned 404 get
//! no series.

use super::{Family, OTHER, Series, escaped, method};
use crate::text::Escaped;
use http_trace_model::endpoint::{Templates, is_there, named_service, service_address};
use http_trace_model::event::{HttpEvent, status_class};
use http_trace_model::target::Target;

/// Maximum length of a template used as a label, in bytes.
const LONGEST: usize = 256;

#[derive(Debug)]
pub struct EndpointCounts {
    templates: Templates,
    /// By service, method and template: counts by class.
    endpoints: Series<(String, &'static str, String), [u64; CLASSES.len()]>,
    now_ns: u64,
}

const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

impl EndpointCounts {
    pub fn new(templates: Templates) -> Self {
        EndpointCounts { templates, endpoints: Series::default(), now_ns: 0 }
    }

    pub fn event(&mut self, event: &HttpEvent) {
        let (Some(request), Some(response)) = (&event.request, &event.response) else {
            return;
        };
        self.now_ns = self.now_ns.max(event.time_ns);
        let target = Target::of(request);
        let shown = |bytes: &[u8]| Escaped(bytes).to_string();
        let service = named_service(&target, shown).unwrap_or_else(|| service_address(event));
        let template = shown(&self.templates.of(target.path.unwrap_or_default()));
        let is_long = service.len() + template.len() > LONGEST;
        let key = (service, method(&request.method), template);
        if !self.endpoints.values.contains_key(&key) && !is_there(response.status) {
            return;
        }
        let others = (OTHER.to_owned(), OTHER, OTHER.to_owned());
        let key = if is_long { others.clone() } else { key };
        let class = status_class(response.status);
        let class = CLASSES.iter().position(|name| *name == class);
        let counts = self.endpoints.of(key, others, self.now_ns);
        counts[class.unwrap_or(CLASSES.len() - 1)] += 1;
    }

    /// The counts; those without updates for a day are dropped.
    pub(super) fn family(&mut self) -> Family {
        let mut series = Vec::new();
        for ((service, method, template), counts) in self.endpoints.sorted(self.now_ns) {
            let (service, template) = (escaped(service), escaped(template));
            let counts = CLASSES.iter().zip(counts).filter(|(_, count)| **count > 0);
            series.extend(counts.map(|(class, count)| {
                let labels = format!(
                    "class=\"{class}\",method=\"{method}\",server=\"{service}\",url_template=\"{template}\""
                );
                (labels, *count as f64)
            }));
        }
        Family {
            name: "http_trace_endpoint_responses_total",
            meaning: "Responses by service, method and URL template.",
            series,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_trace_samples as testing;

    use super::*;
    use crate::metrics::{EXPIRES_NS, MOST};

    fn event(path: &str, status: u16) -> HttpEvent {
        let request = format!("GET {path} HTTP/1.1\r\nHost: Shop.example\r\n\r\n");
        let response = format!("HTTP/1.1 {status} x\r\n\r\n");
        testing::event_of(testing::request(&request), testing::response(&response))
    }

    fn text(counts: &mut EndpointCounts) -> String {
        let mut out = String::new();
        counts.family().write(&mut out).expect("written");
        out
    }

    #[test]
    fn endpoints_are_templates_and_bounded() {
        let mut counts = EndpointCounts::new(Templates::new(&["/u/{name}".to_owned()]));
        for (path, status) in [
            ("/.env", 404),
            ("/cart/1?x=1", 200),
            ("/cart/2", 500),
            ("/cart/3", 404),
            ("/u/anna", 200),
            ("/a\"b", 200),
        ] {
            counts.event(&event(path, status));
        }
        let told = text(&mut counts);
        let name = "http_trace_endpoint_responses_total";
        for line in [
            r#"{class="2xx",method="GET",server="shop.example",url_template="/cart/{id}"} 1"#,
            r#"{class="4xx",method="GET",server="shop.example",url_template="/cart/{id}"} 1"#,
            r#"{class="5xx",method="GET",server="shop.example",url_template="/cart/{id}"} 1"#,
            r#"{class="2xx",method="GET",server="shop.example",url_template="/u/{name}"} 1"#,
            r#"{class="2xx",method="GET",server="shop.example",url_template="/a\"b"} 1"#,
        ] {
            assert!(told.contains(&format!("{name}{line}\n")), "{line}: {told}");
        }
        assert!(!told.contains(".env"), "{told}");
        for n in 0..2 * MOST {
            counts.event(&event(
                &format!("/{}", "x".repeat(n % 250) + &"y".repeat(n / 250 + 1)),
                200,
            ));
        }
        let told = text(&mut counts);
        assert!(told.lines().count() <= MOST + 6, "{}", told.lines().count());
        assert!(told.contains(r#"method="_OTHER",server="_OTHER",url_template="_OTHER""#));
        let mut late = event("/late", 200);
        late.time_ns += EXPIRES_NS + 1;
        counts.event(&late);
        counts.event(&late);
        assert_eq!(text(&mut counts).lines().filter(|line| line.starts_with(name)).count(), 1);
    }
}
