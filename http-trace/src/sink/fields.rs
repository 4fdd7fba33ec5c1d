//! Which fields of events are written. Must not format values.

use http_trace_detect::diagnose::nearest;
use http_trace_model::event::HttpEvent;
use http_trace_model::field::event::EVENT;
use http_trace_model::field::{Field, Kind};

use crate::select::Pattern;

/// Always written: time and kind of the record.
const ALWAYS: &[&str] = &["@timestamp", "event.kind"];

/// The profile `compact`: client, server, request and result. `http-trace detect` can read it.
pub const COMPACT: &[&str] = &[
    "event.duration", "source.ip", "destination.ip", "destination.port", "network.forwarded_ip",
    "http.request.method", "http.response.status_code", "http.response.body.bytes", "url.original",
    "url.domain", "user_agent.original", "http_trace.no_response", "http_trace.missing",
    "http_trace.flags", "http_trace.rules",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields(Vec<&'static str>);

impl Fields {
    /// Parses a comma-separated list of field names, globs and `compact`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut chosen = ALWAYS.to_vec();
        for word in text.split(',').map(str::trim) {
            if word == "compact" {
                chosen.extend(COMPACT);
                continue;
            }
            let pattern = Pattern::parse(word, false)?;
            let before = chosen.len();
            let matching = names().filter(|name| pattern.matches(name.as_bytes()));
            chosen.extend(matching);
            if chosen.len() == before {
                return Err(unknown(word));
            }
        }
        Ok(Fields(chosen))
    }

    pub fn admit(&self, field: &Field<HttpEvent>) -> bool {
        self.0.contains(&field.about.name)
    }
}

/// All fields that can be chosen.
fn names() -> impl Iterator<Item = &'static str> {
    let fields = EVENT.iter().copied().flatten();
    let fields = fields.filter(|field| field.get.is_some() && field.about.kind != Kind::Object);
    fields.map(|field| field.about.name)
}

fn unknown(word: &str) -> String {
    // An object includes all its members.
    let near = match names().any(|name| name.starts_with(&format!("{word}."))) {
        true => Some(format!("{word}.*")),
        false => nearest(word, names(), 4).map(str::to_owned),
    };
    let near = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    format!("names of docs/FIELDS.md, globs of them, or compact; '{word}' is none{near}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_globs_and_the_profile() {
        let chosen = |text: &str| Fields::parse(text).map(|fields| fields.0.len() - ALWAYS.len());
        assert_eq!(chosen("client.ip"), Ok(1));
        assert_eq!(chosen("compact"), Ok(COMPACT.len()));
        assert_eq!(chosen("compact, client.ip"), Ok(COMPACT.len() + 1));
        assert_eq!(chosen("*").map(|n| n > 60), Ok(true));
        assert_eq!(chosen("url.*"), Ok(6));
        for name in COMPACT {
            assert!(names().any(|known| known == *name), "{name}");
        }
        for (text, near) in [
            ("client.pi", "did you mean client.ip?"),
            ("url", "did you mean url.*?"),
            ("nothing_like_it", "'nothing_like_it' is none"),
            ("client.ip,", "'' is none"),
        ] {
            let error = Fields::parse(text).expect_err(text);
            assert!(error.contains(near), "{error}");
        }
    }
}
