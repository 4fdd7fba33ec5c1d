//! One setting at a time: from its text to its type, with the error that names where it was given.

use std::fmt;

use http_trace_common::config::{MAX_SNIPPET, Snippet};
use http_trace_common::record::Hook;

use super::Error;
use super::source::Sources;
use crate::enrich::proxy::Trusted;
use crate::select::{Choice, HeaderPattern, Pattern, Selection, Statuses};
use crate::sink::{HeaderChoice, OutputSpec};
use http_trace_model::value;

/// Reads settings and words the errors.
pub(super) struct Reader<'a>(pub(super) &'a Sources);

impl Reader<'_> {
    pub(super) fn all<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Vec<T>, Error> {
        let Some(given) = self.0.get(key) else {
            return Ok(Vec::new());
        };
        given
            .values
            .iter()
            .map(|v| parse(v).map_err(|want| Error::value(given, v, want)))
            .collect()
    }

    pub(super) fn negatable<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Vec<(bool, T)>, Error> {
        self.all(key, |text| {
            let (excluded, rest) = value::negated(text);
            parse(rest).map(|parsed| (excluded, parsed))
        })
    }

    pub(super) fn one<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Option<T>, Error> {
        let mut all = self.all(key, parse)?;
        match (self.0.get(key), all.len()) {
            (Some(given), 2..) => Err(Error::new(format!(
                "{}: given {} times; want one",
                given.origin,
                all.len()
            ))),
            _ => Ok(all.pop()),
        }
    }

    pub(super) fn choice<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Choice<T>, Error> {
        let mut choice = Choice::default();
        for (excluded, pattern) in self.negatable(key, parse)? {
            choice.push(excluded, pattern);
        }
        Ok(choice)
    }
}

pub(super) fn selection(s: &Reader<'_>) -> Result<Selection, Error> {
    let latency = |t: &str| value::duration(t).map(|d| d.as_nanos() as u64);
    Ok(Selection {
        alerts_only: false,
        status: s.choice("status", Statuses::parse)?,
        method: s.choice("method", method)?,
        host: s.choice("host", |t| Pattern::parse(t, true))?,
        path: s.choice("path", |t| Pattern::parse(t, false))?,
        user_agent: s.choice("user-agent", |t| Pattern::parse(t, true))?,
        header: s.choice("header", header_pattern)?,
        rule: s.choice("rule", |t| Ok::<_, &str>(t.to_owned()))?,
        min_latency_ns: s.choice("min-latency", latency)?,
    })
}

/// Loopback and the networks given; `none` takes loopback away.
pub(super) fn trusted(s: &Reader<'_>) -> Result<Trusted, Error> {
    let given = s.all("trusted-proxies", |text| match text {
        "none" => Ok(None),
        _ => value::network(text)
            .map(Some)
            .map_err(|want| format!("{want}, or none")),
    })?;
    let networks: Vec<_> = given.iter().copied().flatten().collect();
    Ok(match given.contains(&None) {
        true => Trusted::only(networks),
        false => Trusted::with(networks),
    })
}

fn method(text: &str) -> Result<String, &'static str> {
    // Methods are case-sensitive (RFC 9110 §9.1) and those in use are capitals.
    value::field_name(text)
        .map(|m| m.to_ascii_uppercase())
        .map_err(|_| "a method, such as GET")
}

fn header_pattern(text: &str) -> Result<HeaderPattern, String> {
    let want = || "NAME=PATTERN, such as content-type=text/*".to_owned();
    let (name, pattern) = text.split_once('=').ok_or_else(want)?;
    Ok(HeaderPattern {
        name: value::field_name(name.trim()).map_err(|_| want())?,
        value: Pattern::parse(pattern.trim(), true)?,
    })
}

/// `N` or `N:STATUS`, the latter as `--status` takes it.
pub(super) fn snippet(text: &str) -> Result<Snippet, String> {
    let (number, statuses) = text.split_once(':').unwrap_or((text, ""));
    let bytes = number.trim().parse().ok();
    let bytes = bytes
        .filter(|n| (1..=MAX_SNIPPET).contains(n))
        .ok_or_else(|| {
            format!(
                "a number of bytes from 1 to {MAX_SNIPPET}, and which statuses, such as 512:4xx,5xx"
            )
        })?;
    let mut choice: Choice<Statuses> = Choice::default();
    for word in statuses.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        let (excluded, word) = value::negated(word);
        choice.push(excluded, Statuses::parse(word)?);
    }
    let mut snippet = Snippet {
        bytes,
        ..Snippet::NONE
    };
    for status in 100..=999 {
        if choice.admits(|statuses| statuses.contains(status)) {
            snippet.add(status);
        }
    }
    Ok(snippet)
}

pub(super) fn hook(text: &str) -> Result<Hook, &'static str> {
    [Hook::Tc, Hook::SocketFilter, Hook::Cgroup, Hook::Xdp]
        .into_iter()
        .find(|h| h.name() == text)
        .ok_or("tc, socket-filter, cgroup or xdp")
}

pub(super) fn interface_glob(text: &str) -> Result<String, String> {
    globset::Glob::new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("an interface such as eth0, or a pattern such as veth* ({error})"))
}

pub(super) fn outputs(
    sources: &Sources,
    outputs: Vec<OutputSpec>,
) -> Result<Vec<OutputSpec>, Error> {
    for (at, one) in outputs.iter().enumerate() {
        if let (Some(given), true) = (
            sources.get("output"),
            outputs[..at].iter().any(|o| o.file == one.file),
        ) {
            let place = match &one.file {
                Some(file) => file.display().to_string(),
                None => "standard output".to_owned(),
            };
            return Err(Error::new(format!(
                "{}: two outputs go to {place}; want a file for each (json:FILE)",
                given.origin
            )));
        }
    }
    Ok(outputs)
}

pub(super) fn header_choice(
    sources: &Sources,
    key: &str,
    default: HeaderChoice,
) -> Result<HeaderChoice, Error> {
    let Some(given) = sources.get(key) else {
        return Ok(default);
    };
    let mut names = Vec::new();
    for v in &given.values {
        match v.as_str() {
            "all" if given.values.len() == 1 => return Ok(HeaderChoice::All),
            "none" if given.values.len() == 1 => return Ok(HeaderChoice::None),
            "all" | "none" => return Err(Error::value(given, v, "it alone, or names of headers")),
            name => names.push(
                value::field_name(name)
                    .map_err(|_| Error::value(given, v, "all, none, or names of headers"))?,
            ),
        }
    }
    names.sort();
    names.dedup();
    Ok(HeaderChoice::Names(names))
}

/// A parser of one word out of a few.
pub(super) fn word<'a, T: Copy>(
    words: &'a [(&'a str, T)],
) -> impl Fn(&str) -> Result<T, String> + 'a {
    move |text| {
        words
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                words
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ")
            })
    }
}
