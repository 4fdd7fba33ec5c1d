//! Parsers from the text of a setting to its type. An error says only what was expected; the caller adds
//! where the value was given.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use http_trace_common::config::{MAX_SNIPPET, Snippet, decap};
use http_trace_common::record::Hook;
use http_trace_detect::rule::Level;
use http_trace_model::endpoint::KnownEndpoints;
use http_trace_model::value;
use ipnet::IpNet;

use crate::select::{Choice, Statuses};
use crate::sink::HeaderChoice;
use crate::text::Escaped;

/// Collects the values of a setting into its type.
pub(super) trait Field<T>: Sized {
    /// The collected values, or the end of an error message that starts with the setting's name.
    fn collect(values: Vec<T>) -> Result<Self, String>;
}

impl<T> Field<T> for Vec<T> {
    fn collect(values: Vec<T>) -> Result<Self, String> {
        Ok(values)
    }
}

impl<T> Field<T> for Option<T> {
    fn collect(mut values: Vec<T>) -> Result<Self, String> {
        match values.len() {
            0 | 1 => Ok(values.pop()),
            n => Err(format!(": given {n} times; want one")),
        }
    }
}

/// A required setting, which has a default.
impl<T> Field<T> for T {
    fn collect(values: Vec<T>) -> Result<Self, String> {
        Option::collect(values)?.ok_or_else(|| ": want a value".to_owned())
    }
}

impl<T> Field<(bool, T)> for Choice<T> {
    fn collect(values: Vec<(bool, T)>) -> Result<Self, String> {
        Ok(Choice(values))
    }
}

impl Field<String> for HeaderChoice {
    fn collect(mut names: Vec<String>) -> Result<Self, String> {
        match names.iter().find(|name| ["all", "none"].contains(&&***name)) {
            Some(word) if names.len() > 1 => {
                Err(format!(" '{word}': want it alone, or header names"))
            }
            Some(word) if word == "all" => Ok(HeaderChoice::All),
            Some(_) => Ok(HeaderChoice::None),
            None => {
                names.sort();
                names.dedup();
                Ok(HeaderChoice::Names(names))
            }
        }
    }
}

/// Parses a value with an optional leading `!`, which excludes what it matches.
pub(super) fn negatable<T, W>(
    parse: impl Fn(&str) -> Result<T, W>,
) -> impl Fn(&str) -> Result<(bool, T), W> {
    move |text| {
        let (excluded, rest) = value::negated(text);
        parse(rest).map(|parsed| (excluded, parsed))
    }
}

/// A tunnel type to decapsulate, as bits.
pub(super) fn tunnel(text: &str) -> Result<u32, &'static str> {
    match text {
        "vxlan" => Ok(decap::VXLAN),
        "vxlan-joined" => Ok(decap::VXLAN | decap::JOINED),
        "ipip" => Ok(decap::IPIP),
        "vlan" => Ok(decap::VLAN),
        _ => Err("vxlan, vxlan-joined, ipip, vlan"),
    }
}

/// A Kubernetes name: of a node, or of a label with its prefix.
pub(super) fn kubernetes_name(text: &str) -> Result<String, &'static str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_name) {
        true => Ok(text.to_owned()),
        false => Err("a Kubernetes name, such as node-1 or app.kubernetes.io/name"),
    }
}

pub(super) fn lower_case(text: &str) -> Result<String, Infallible> {
    Ok(text.to_ascii_lowercase())
}

/// A trusted proxy; `None` for `none`.
pub(super) fn proxy(text: &str) -> Result<Option<IpNet>, String> {
    match text {
        "none" => Ok(None),
        _ => value::network(text).map(Some).map_err(|want| format!("{want}, or none")),
    }
}

pub(super) fn header_name(text: &str) -> Result<String, &'static str> {
    value::field_name(text).map_err(|_| "all, none, or header names")
}

pub(super) fn level(text: &str) -> Result<Level, &'static str> {
    Level::of(text).ok_or("info, low, medium, high or critical")
}

/// Reads a file of known endpoints.
pub(super) fn known_endpoints(path: &str) -> Result<Arc<KnownEndpoints>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("a readable file ({error})"))?;
    let endpoints = KnownEndpoints::parse(&text, |bytes| Escaped(bytes).to_string());
    let endpoints = endpoints.map_err(|wrong| format!("a list of endpoints; {wrong}"));
    endpoints.map(Arc::new)
}

pub(super) fn template(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("a path such as /users/{name}") }
}

pub(super) fn verbosity(text: &str) -> Result<u8, &'static str> {
    text.parse().map_err(|_| "a number: 0, 1, 2 or more")
}

pub(super) fn endpoint(text: &str) -> Result<SocketAddr, &'static str> {
    // A manifest puts any address between brackets.
    let in_brackets = || {
        let (ip, port) = text.strip_prefix('[')?.split_once("]:")?;
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    };
    let wrong = "an address and a port, such as 127.0.0.1:9464 or [::1]:9464";
    text.parse().ok().or_else(in_brackets).ok_or(wrong)
}

pub(super) fn state_size(text: &str) -> Result<usize, &'static str> {
    /// Below this size almost nothing could be kept.
    const LEAST: usize = 64 << 10;
    match value::bytes(text)? {
        bytes if bytes < LEAST => Err("at least 64KiB"),
        bytes => Ok(bytes),
    }
}

/// As many connections as a map of the kernel has room for, at 200 bytes and more each.
pub(super) fn flows(text: &str) -> Result<u64, &'static str> {
    value::positive(text).ok().filter(|n| *n <= 1 << 26).ok_or("a whole number from 1 to 67108864")
}

/// `N` or `N:STATUS`, the latter in the syntax of `--status`.
pub(super) fn snippet(text: &str) -> Result<Snippet, String> {
    let (number, statuses) = text.split_once(':').unwrap_or((text, ""));
    let bytes = number.trim().parse().ok();
    let bytes = bytes.filter(|n| (1..=MAX_SNIPPET).contains(n)).ok_or_else(|| {
        format!(
            "a number of bytes from 1 to {MAX_SNIPPET} and optional statuses, such as \
                 512:4xx,5xx"
        )
    })?;
    let words = statuses.split(',').map(str::trim).filter(|w| !w.is_empty());
    let choice = Choice(words.map(negatable(Statuses::parse)).collect::<Result<_, _>>()?);
    let mut snippet = Snippet { bytes, ..Snippet::NONE };
    for status in 100..=999 {
        if choice.admits(|statuses| statuses.contains(status)) {
            snippet.add(status);
        }
    }
    Ok(snippet)
}

pub(super) fn hook(text: &str) -> Result<Hook, &'static str> {
    let hook = Hook::named(text).filter(|hook| *hook != Hook::Capture);
    hook.ok_or("tc, socket-filter, cgroup or xdp")
}

pub(super) fn interface_glob(text: &str) -> Result<String, String> {
    globset::Glob::new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("an interface such as eth0, or a pattern such as veth* ({error})"))
}
