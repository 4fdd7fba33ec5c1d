//! Selects which events are written. Never limits what is traced: rules and metrics see every event within
//! [`crate::scope`].

pub mod filters;

use globset::{Candidate, GlobBuilder, GlobMatcher};

use http_trace_model::event::HttpEvent;
use http_trace_model::known::Known;
use http_trace_model::process::Process;
use http_trace_model::target::Target;
use ipnet::IpNet;

/// Patterns of an option in the order given, `true` for those to exclude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<T>(pub Vec<(bool, T)>);

impl<T> Default for Choice<T> {
    fn default() -> Self {
        Choice(Vec::new())
    }
}

impl<T> Choice<T> {
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All patterns, the excluded ones last.
    pub fn named(&self) -> impl Iterator<Item = &T> {
        self.included().chain(self.excluded())
    }

    /// Patterns of which one must match, unless there is none.
    pub fn included(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter(|(excluded, _)| !excluded).map(|(_, pattern)| pattern)
    }

    /// Patterns that must not match.
    fn excluded(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter(|(excluded, _)| *excluded).map(|(_, pattern)| pattern)
    }

    /// Whether a pattern matches that is included, or none is, and no excluded one does.
    pub fn admits(&self, matches: impl Fn(&T) -> bool) -> bool {
        self.admits_unknown(false, matches)
    }

    /// The same of a value that is not known, which may match what is included.
    fn admits_unknown(&self, is_unknown: bool, matches: impl Fn(&T) -> bool) -> bool {
        let mut included = self.included().peekable();
        !self.excluded().any(&matches)
            && (is_unknown || included.peek().is_none() || included.any(&matches))
    }
}

/// An inclusive range of status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    pub first: u16,
    pub last: u16,
}

impl Statuses {
    /// Parses `404`, `5xx` or `400-499`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANT: &str =
            "a code from 100 to 999, a class or a range, such as 404, 5xx or 400-499";
        let code = |t: &str| {
            let three_digits = t.len() == 3 && t.bytes().all(|b| b.is_ascii_digit());
            let number = if three_digits { t.parse::<u16>().ok() } else { None };
            number.filter(|n| *n >= 100).ok_or(WANT)
        };
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let first = code(&format!("{class}00"))?;
            return Ok(Statuses { first, last: first + 99 });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Statuses { first: code(first.trim())?, last: code(last.trim())? };
        if range.first <= range.last { Ok(range) } else { Err("the smaller code first") }
    }

    pub fn contains(self, code: u16) -> bool {
        (self.first..=self.last).contains(&code)
    }
}

/// The fraction of responses with some statuses that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    statuses: Statuses,
    /// In units of 2⁻³².
    share: u64,
}

impl Sample {
    /// Parses `2xx=1%`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANT: &str = "statuses and a percentage, such as 2xx=1% or 200-399=0.5%";
        let (statuses, share) = text.split_once('=').ok_or(WANT)?;
        let percent = share.trim().strip_suffix('%').ok_or(WANT)?;
        let percent: f64 = percent.trim().parse().map_err(|_| WANT)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err("a percentage from 0% to 100%");
        }
        Ok(Sample {
            statuses: Statuses::parse(statuses.trim())?,
            share: (percent / 100.0 * (1_u64 << 32) as f64) as u64,
        })
    }
}

/// Hashes similar numbers to uniform ones (splitmix64, Steele et al. 2014).
const fn spread(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A shell pattern over bytes: `*`, `?`, `[a-z]`, `{a,b}`; `*` crosses slashes.
#[derive(Clone, Debug)]
pub struct Pattern(GlobMatcher);

impl Pattern {
    pub fn parse(text: &str, ignore_case: bool) -> Result<Self, String> {
        GlobBuilder::new(text)
            .case_insensitive(ignore_case)
            .literal_separator(false)
            .backslash_escape(true)
            .build()
            .map(|glob| Pattern(glob.compile_matcher()))
            .map_err(|error| format!("a pattern such as /api/* ({})", error.kind()))
    }

    pub fn text(&self) -> &str {
        self.0.glob().glob()
    }

    /// Whether it contains wildcards.
    pub fn is_glob(&self) -> bool {
        self.text().contains(['*', '?', '[', '{'])
    }

    /// Whether it matches all of `bytes`.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.0.is_match_candidate(&Candidate::from_bytes(bytes))
    }
}

/// A header name and a pattern for its value.
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    /// Field name in lower case.
    pub name: String,
    pub value: Pattern,
}

/// All filters of an output.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Write no responses, whatever else is selected.
    pub alerts_only: bool,
    pub status: Choice<Statuses>,
    /// Methods, in upper case.
    pub method: Choice<String>,
    /// Hosts without port.
    pub host: Choice<Pattern>,
    /// Paths without query.
    pub path: Choice<Pattern>,
    pub user_agent: Choice<Pattern>,
    /// Headers of request or response.
    pub header: Choice<HeaderPattern>,
    /// Names or pids of the processes at both ends.
    pub process: Choice<Pattern>,
    /// Names or ids of their containers.
    pub container: Choice<Pattern>,
    /// Names or UIDs of their pods.
    pub pod: Choice<Pattern>,
    /// Namespaces of these pods.
    pub namespace: Choice<Pattern>,
    /// Ids of rules for which the response counted.
    pub rule: Choice<String>,
    /// Minimum time from the request's last byte to the response's first, in ns.
    pub min_latency_ns: Choice<u64>,
    /// Networks of clients, for one output: [`crate::scope`] limits what is traced.
    pub client: Choice<IpNet>,
    /// Networks of servers, likewise.
    pub server: Choice<IpNet>,
    /// Sampling of the selected responses; the first entry with a matching status applies.
    pub sample: Vec<Sample>,
}

impl Selection {
    /// Whether the event is written. Unknown values match no pattern.
    pub fn admits(&self, event: &HttpEvent) -> bool {
        !self.alerts_only
            && self.status_admits(event)
            && self.client.admits(|net| net.contains(&event.client_ip()))
            && self.server.admits(|net| net.contains(&event.server.ip))
            && self.request_admits(event)
            && self.rule.admits(|id| event.rules.iter().any(|rule| **rule == **id))
            && self.header.admits(|wanted| has_header(event, wanted))
            && self.processes_admit(event)
            && self.min_latency_ns.admits(|least| event.ttfb_ns().is_some_and(|t| t >= *least))
    }

    /// Whether a selected event is in the sample. Deterministic for a capture.
    pub fn samples(&self, event: &HttpEvent) -> bool {
        let Some(status) = event.response.as_ref().map(|r| r.status) else {
            return true;
        };
        let sample = self.sample.iter().find(|s| s.statuses.contains(status));
        sample.is_none_or(|sample| spread(event.id) >> 32 < sample.share)
    }

    pub fn chooses_processes(&self) -> bool {
        let of = [&self.process, &self.container, &self.pod, &self.namespace];
        of.into_iter().any(|of| !of.is_empty())
    }

    /// Whether only events are written of which the process, container, pod or namespace is known.
    pub fn wants_processes(&self) -> bool {
        let of = [&self.process, &self.container];
        self.wants_pods() || of.into_iter().any(|of| of.included().next().is_some())
    }

    /// Whether only events are written of which the pod or namespace is known.
    pub fn wants_pods(&self) -> bool {
        [&self.pod, &self.namespace].into_iter().any(|of| of.included().next().is_some())
    }

    /// What may be meant where nothing was written: patterns without a wildcard match a whole value.
    /// Options are named with `before` and `behind` around them, as they are given.
    pub fn hints(&self, before: &str, behind: &str) -> Vec<String> {
        let mut hints = Vec::new();
        let of_header: Vec<&Pattern> = self.header.included().map(|header| &header.value).collect();
        for (option, patterns) in [
            ("host", self.host.included().collect()),
            ("path", self.path.included().collect()),
            ("user-agent", self.user_agent.included().collect()),
            ("header", of_header),
        ] {
            let literals = patterns.into_iter().filter(|p| !p.is_glob()).map(Pattern::text);
            hints.extend(literals.map(|text| {
                let meant = match option {
                    "host" => format!("*{text}*"),
                    "path" if !text.starts_with('/') => format!("*{text}*"),
                    _ => format!("{text}*"),
                };
                format!(
                    "{before}{option}{behind}'{text}' matches only {text} itself; did you mean '{meant}'?"
                )
            }));
        }
        let queries = self.path.included().map(Pattern::text);
        let queries = queries.filter(|path| path.contains("?") && path.contains('='));
        hints.extend(queries.map(|path| {
            format!(
                "{before}path{behind}'{path}' is compared with the path only, without the query"
            )
        }));
        hints
    }

    /// What to say of statuses that HTTP does not have, at the start.
    pub fn unlikely(&self, before: &str, behind: &str) -> impl Iterator<Item = String> {
        let written = self.status.named().map(|statuses| ("status", statuses));
        let sampled = self.sample.iter().map(|s| ("sample", &s.statuses));
        let beyond = written.chain(sampled).filter(|(_, s)| s.first >= 600);
        let beyond = beyond.map(move |(option, statuses)| {
            format!(
                "{before}{option}{behind}HTTP has no status codes above 599 (RFC 9110 section 15); {} only matches \
                 invalid responses",
                statuses.first
            )
        });
        let is_excluded = |s: &Statuses| {
            self.status.excluded().any(|not| not.first <= s.first && s.last <= not.last)
        };
        let mut included = self.status.included().peekable();
        let is_vain = included.peek().is_some() && included.all(is_excluded);
        let vain = format!(
            "{before}status{behind}all that it selects it excludes, too: nothing is written"
        );
        beyond.chain(is_vain.then_some(vain))
    }

    /// Whether an alert is to be written: all are, unless rules are chosen.
    pub fn admits_alert(&self, rule: &str) -> bool {
        self.rule.admits(|id| id == rule)
    }

    fn status_admits(&self, event: &HttpEvent) -> bool {
        let last = event.response.as_ref().map(|r| r.status);
        let heads = || event.informational.iter().map(|r| r.status);
        // Exclusions apply to the final status, if there is one: '!1xx' must not exclude a 200 that followed
        // a 103.
        let excluded = match last {
            Some(status) => self.status.excluded().any(|s| s.contains(status)),
            None => self.status.excluded().any(|s| heads().any(|h| s.contains(h))),
        };
        let mut included = self.status.included().peekable();
        !excluded
            && (included.peek().is_none()
                || included.any(|s| last.into_iter().chain(heads()).any(|h| s.contains(h))))
    }

    /// Whether either end matches.
    fn processes_admit(&self, event: &HttpEvent) -> bool {
        let ends = || event.client_process.iter().chain(&event.server_process);
        let process = |p: &Pattern| {
            let of = |process: &Process| {
                named(p, process.name.as_deref()) || p.matches(process.pid.to_string().as_bytes())
            };
            ends().any(|process| of(process))
        };
        let container = |p: &Pattern| {
            let mut all = ends().filter_map(|process| process.workload.container.as_ref());
            all.any(|of| named(p, Some(&of.id)) || named(p, of.name.as_deref()))
        };
        let pods = || ends().filter_map(|process| process.workload.pod.as_ref());
        // Such a pod may be the one that is looked for: `missing` says that its name is not known.
        let is_unnamed = pods().any(|pod| pod.name.is_none());
        let pod = |p: &Pattern| {
            pods().any(|pod| named(p, Some(&pod.uid)) || named(p, pod.name.as_deref()))
        };
        let namespace = |p: &Pattern| pods().any(|pod| named(p, pod.namespace.as_deref()));
        self.process.admits(process)
            && self.container.admits(container)
            && self.pod.admits_unknown(is_unnamed, pod)
            && self.namespace.admits_unknown(is_unnamed, namespace)
    }

    fn request_admits(&self, event: &HttpEvent) -> bool {
        let request = event.request.as_ref();
        let method = |m: &String| request.is_some_and(|r| *r.method == *m.as_bytes());
        if !self.method.admits(method) {
            return false;
        }
        let agent = request.and_then(|r| r.headers.first_known(Known::USER_AGENT));
        if !self.user_agent.admits(|p| agent.is_some_and(|a| p.matches(a))) {
            return false;
        }
        if self.host.is_empty() && self.path.is_empty() {
            return true;
        }
        let target = request.map(Target::of);
        let host = target.as_ref().and_then(|t| t.host);
        let path = target.as_ref().and_then(|t| t.path);
        self.host.admits(|p| host.is_some_and(|h| p.matches(h)))
            && self.path.admits(|q| path.is_some_and(|p| q.matches(p)))
    }
}

fn named(pattern: &Pattern, name: Option<&str>) -> bool {
    name.is_some_and(|name| pattern.matches(name.as_bytes()))
}

fn has_header(event: &HttpEvent, wanted: &HeaderPattern) -> bool {
    let request = event.request.as_ref().map(|r| &r.headers);
    let response = event.response.as_ref().map(|r| &r.headers);
    request
        .into_iter()
        .chain(response)
        .chain(event.informational.iter().map(|r| &r.headers))
        .any(|headers| headers.all(&wanted.name).any(|v| wanted.value.matches(v)))
}

#[cfg(test)]
mod tests;
