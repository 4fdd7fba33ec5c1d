//! Filters of an output by name: `status=5xx`, `client=internal`. Parses them into a [`Selection`].

use std::fmt::Display;

use http_trace_model::value::{self, field_name};
use ipnet::IpNet;

use super::{Choice, HeaderPattern, Pattern, Sample, Selection, Statuses};

/// A filter that an output can name.
#[derive(Debug)]
pub struct Filter {
    pub name: &'static str,
    /// Parses and adds a list of values; the error says what was expected.
    pub add: fn(&mut Selection, &str) -> Result<(), String>,
}

impl Filter {
    const fn new(name: &'static str, add: fn(&mut Selection, &str) -> Result<(), String>) -> Self {
        Filter { name, add }
    }
}

pub const FILTERS: &[Filter] = &[
    Filter::new("status", |of, text| each(&mut of.status, text, Statuses::parse)),
    Filter::new("method", |of, text| each(&mut of.method, text, method)),
    Filter::new("host", |of, text| each(&mut of.host, text, any_case)),
    Filter::new("path", |of, text| each(&mut of.path, text, exact)),
    Filter::new("user-agent", |of, text| each(&mut of.user_agent, text, any_case)),
    Filter::new("header", |of, text| each(&mut of.header, text, header_pattern)),
    Filter::new("process", |of, text| each(&mut of.process, text, exact)),
    Filter::new("container", |of, text| each(&mut of.container, text, exact)),
    Filter::new("pod", |of, text| each(&mut of.pod, text, exact)),
    Filter::new("namespace", |of, text| each(&mut of.namespace, text, exact)),
    Filter::new("rule", |of, text| each(&mut of.rule, text, |id| Ok::<_, &str>(id.to_owned()))),
    Filter::new("min-latency", |of, text| each(&mut of.min_latency_ns, text, nanoseconds)),
    Filter::new("client", |of, text| networks(&mut of.client, text)),
    Filter::new("server", |of, text| networks(&mut of.server, text)),
    Filter::new("sample", |of, text| {
        let samples = cut(text).into_iter().map(|part| Sample::parse(&part));
        of.sample.extend(samples.collect::<Result<Vec<_>, _>>()?);
        Ok(())
    }),
];

fn any_case(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text, true)
}

fn exact(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text, false)
}

/// Networks that `internal` stands for: those not routed on the Internet (RFC 1918, 3927, 4193, 4291, 6598).
const INTERNAL: [&str; 9] = [
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8",
    "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10",
];

fn networks(choice: &mut Choice<IpNet>, text: &str) -> Result<(), String> {
    for part in cut(text) {
        let (excluded, rest) = value::negated(&part);
        let one = [rest];
        let named = match rest {
            "internal" => &INTERNAL[..],
            _ => &one,
        };
        for network in named {
            let network = value::network(network).map_err(|want| format!("{want}, or internal"))?;
            choice.0.push((excluded, network));
        }
    }
    Ok(())
}

fn each<T, W: Display>(
    choice: &mut Choice<T>,
    text: &str,
    parse: impl Fn(&str) -> Result<T, W>,
) -> Result<(), String> {
    for part in cut(text) {
        let (excluded, rest) = value::negated(&part);
        choice.0.push((excluded, parse(rest).map_err(|want| want.to_string())?));
    }
    Ok(())
}

/// Splits a list at commas outside braces, which belong to a glob.
pub fn cut(text: &str) -> Vec<String> {
    let mut depth = 0_u32;
    let parts = text.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// Converts to upper case: methods are case-sensitive (RFC 9110 §9.1), and the common ones are upper case.
pub fn method(text: &str) -> Result<String, &'static str> {
    field_name(text).map(|method| method.to_ascii_uppercase()).map_err(|_| "a method, such as GET")
}

/// Parses `content-type=text/*`.
pub fn header_pattern(text: &str) -> Result<HeaderPattern, String> {
    let want = || "NAME=PATTERN, such as content-type=text/*".to_owned();
    let (name, pattern) = text.split_once('=').ok_or_else(want)?;
    Ok(HeaderPattern {
        name: field_name(name.trim()).map_err(|_| want())?,
        value: Pattern::parse(pattern.trim(), true)?,
    })
}

/// Parses a duration to ns.
pub fn nanoseconds(text: &str) -> Result<u64, &'static str> {
    value::duration(text).map(|time| time.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_samples as testing;

    #[test]
    fn filters_decide_as_the_options_of_their_names_do() {
        let event = testing::event();
        for (name, text, expected) in [
            ("status", "404,5xx", true),
            ("status", "!404", false),
            ("method", "get", true),
            ("host", "*.{example,org}", true),
            ("path", "/cart/*,/a", true),
            ("path", "!/cart/*", false),
            ("user-agent", "curl*", true),
            ("header", "content-type=text/*", true),
            ("header", "!content-type=*", false),
            ("rule", "x", false),
            ("process", "nginx", false),
            ("process", "!nginx", true),
            ("container", "3f5a*", false),
            ("pod", "web-*", false),
            ("namespace", "!kube-system", true),
            ("min-latency", "1ms", true),
            ("min-latency", "2ms", false),
            ("client", "internal", true),
            ("client", "!internal", false),
            ("client", "10.1.2.0/24", true),
            ("server", "192.0.2.1", false),
        ] {
            let mut selection = Selection::default();
            let filter = FILTERS.iter().find(|filter| filter.name == name);
            let added = (filter.expect(name).add)(&mut selection, text);
            assert_eq!(added, Ok(()), "{name}={text}");
            assert_eq!(selection.admits(&event), expected, "{name}={text}");
        }
        for (name, text) in
            [("status", "6"), ("client", "inside"), ("min-latency", "fast"), ("sample", "2xx")]
        {
            let filter = FILTERS.iter().find(|filter| filter.name == name);
            let refused = (filter.expect(name).add)(&mut Selection::default(), text);
            assert!(refused.is_err(), "{name}={text}");
        }
    }
}
