//! Which events are written. Selection never limits what is traced: rules and metrics see every
//! event, [`crate::scope`] apart.

pub mod filters;

use globset::{Candidate, GlobBuilder, GlobMatcher};

use http_trace_model::event::HttpEvent;
use http_trace_model::known::Known;
use http_trace_model::process::Process;
use http_trace_model::target::Target;
use ipnet::IpNet;

/// Patterns of one option: any of `include`, unless one of `exclude` matches.
#[derive(Clone, Debug)]
pub struct Choice<T> {
    /// Empty: everything.
    pub include: Vec<T>,
    /// Always wins.
    pub exclude: Vec<T>,
}

impl<T> Default for Choice<T> {
    fn default() -> Self {
        Choice {
            include: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

impl<T> Choice<T> {
    /// All that are named, to be written or not.
    pub fn named(&self) -> impl Iterator<Item = &T> {
        self.include.iter().chain(&self.exclude)
    }

    /// Whether something of `include` matches, or that is empty, and nothing of `exclude`.
    pub fn admits(&self, matches: impl Fn(&T) -> bool) -> bool {
        !self.exclude.iter().any(&matches)
            && (self.include.is_empty() || self.include.iter().any(&matches))
    }

    /// Adds a pattern.
    pub fn push(&mut self, excluded: bool, pattern: T) {
        if excluded {
            &mut self.exclude
        } else {
            &mut self.include
        }
        .push(pattern);
    }
}

/// An inclusive range of status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// First code.
    pub first: u16,
    /// Last code.
    pub last: u16,
}

impl Statuses {
    /// `404`, `5xx` or `400-499`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANT: &str =
            "a code from 100 to 999, a class or a range, such as 404, 5xx or 400-499";
        let code = |t: &str| {
            let three_digits = t.len() == 3 && t.bytes().all(|b| b.is_ascii_digit());
            let number = if three_digits {
                t.parse::<u16>().ok()
            } else {
                None
            };
            number.filter(|n| *n >= 100).ok_or(WANT)
        };
        if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
            let first = code(&format!("{class}00"))?;
            return Ok(Statuses {
                first,
                last: first + 99,
            });
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = Statuses {
            first: code(first.trim())?,
            last: code(last.trim())?,
        };
        if range.first <= range.last {
            Ok(range)
        } else {
            Err("the smaller code first")
        }
    }

    /// Whether a code is in it.
    pub fn contains(self, code: u16) -> bool {
        (self.first..=self.last).contains(&code)
    }
}

/// The share of responses of some statuses that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    statuses: Statuses,
    /// Of 2³².
    share: u64,
}

impl Sample {
    /// `2xx=1%`
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const WANT: &str = "statuses and their share, such as 2xx=1% or 200-399=0.5%";
        let (statuses, share) = text.split_once('=').ok_or(WANT)?;
        let percent = share.trim().strip_suffix('%').ok_or(WANT)?;
        let percent: f64 = percent.trim().parse().map_err(|_| WANT)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err("a share from 0% to 100%");
        }
        Ok(Sample {
            statuses: Statuses::parse(statuses.trim())?,
            share: (percent / 100.0 * (1_u64 << 32) as f64) as u64,
        })
    }
}

/// Spreads numbers that are alike (splitmix64, Steele and others 2014).
const fn spread(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A shell pattern over bytes: `*`, `?`, `[a-z]`, `{a,b}`; `*` crosses slashes.
#[derive(Clone, Debug)]
pub struct Pattern(GlobMatcher);

impl Pattern {
    /// Compiles a pattern.
    pub fn parse(text: &str, ignore_case: bool) -> Result<Self, String> {
        GlobBuilder::new(text)
            .case_insensitive(ignore_case)
            .literal_separator(false)
            .backslash_escape(true)
            .build()
            .map(|glob| Pattern(glob.compile_matcher()))
            .map_err(|error| format!("a pattern such as /api/* ({})", error.kind()))
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        self.0.glob().glob()
    }

    /// Whether it may match more than its own text.
    pub fn is_glob(&self) -> bool {
        self.text().contains(['*', '?', '[', '{'])
    }

    /// Whether all of `bytes` matches.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.0.is_match_candidate(&Candidate::from_bytes(bytes))
    }
}

/// A header and a pattern of its value.
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    /// Field name in lower case.
    pub name: String,
    /// Of one value.
    pub value: Pattern,
}

/// All filters of an output.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Whether no response is written, whatever else is chosen.
    pub alerts_only: bool,
    /// Status codes.
    pub status: Choice<Statuses>,
    /// Methods, in capitals unless the method is not.
    pub method: Choice<String>,
    /// Hosts without port.
    pub host: Choice<Pattern>,
    /// Paths without query.
    pub path: Choice<Pattern>,
    /// User-Agent.
    pub user_agent: Choice<Pattern>,
    /// Headers of request or response.
    pub header: Choice<HeaderPattern>,
    /// Names or numbers of the processes at both ends.
    pub process: Choice<Pattern>,
    /// Ids of the containers that they are in.
    pub container: Choice<Pattern>,
    /// Ids of rules that the response counted for.
    pub rule: Choice<String>,
    /// Least time from the request's last byte to the response's first, in ns.
    pub min_latency_ns: Choice<u64>,
    /// Networks of who asked, of one output: [`crate::scope`] limits what is traced.
    pub client: Choice<IpNet>,
    /// Networks of who answered, in the same way.
    pub server: Choice<IpNet>,
    /// Of the responses that all else lets through; the first that has the status counts.
    pub sample: Vec<Sample>,
}

impl Selection {
    /// Whether the event is to be written. What is not known matches no pattern.
    pub fn admits(&self, event: &HttpEvent) -> bool {
        !self.alerts_only
            && self.status_admits(event)
            && self.client.admits(|net| net.contains(&event.client_ip()))
            && self.server.admits(|net| net.contains(&event.server.ip))
            && self.request_admits(event)
            && self
                .rule
                .admits(|id| event.rules.iter().any(|rule| **rule == **id))
            && self.header.admits(|wanted| has_header(event, wanted))
            && self.processes_admit(event)
            && self
                .min_latency_ns
                .admits(|least| event.ttfb_ns().is_some_and(|t| t >= *least))
    }

    /// Whether the event, which is admitted, is in the sample: the same in each run over a capture.
    pub fn samples(&self, event: &HttpEvent) -> bool {
        let Some(status) = event.response.as_ref().map(|r| r.status) else {
            return true;
        };
        let sample = self.sample.iter().find(|s| s.statuses.contains(status));
        sample.is_none_or(|sample| {
            // Of an access log nothing else is known.
            let number = match event.id {
                0 => event.time_ns.wrapping_add(event.sequence),
                id => id,
            };
            spread(number) >> 32 < sample.share
        })
    }

    /// What may be meant where nothing was written: patterns without a wildcard match a whole value.
    pub fn hints(&self) -> Vec<String> {
        let mut hints = Vec::new();
        let headers = self.header.include.iter().map(|header| &header.value);
        let of_header: Vec<&Pattern> = headers.collect();
        for (option, patterns) in [
            ("--host", self.host.include.iter().collect()),
            ("--path", self.path.include.iter().collect()),
            ("--user-agent", self.user_agent.include.iter().collect()),
            ("--header", of_header),
        ] {
            let literals = patterns
                .into_iter()
                .filter(|p| !p.is_glob())
                .map(Pattern::text);
            hints.extend(literals.map(|text| {
                let meant = match option {
                    "--host" => format!("*{text}*"),
                    "--path" if !text.starts_with('/') => format!("*{text}*"),
                    _ => format!("{text}*"),
                };
                format!("{option}: '{text}' matches only exactly {text}; did you mean '{meant}'?")
            }));
        }
        let queries = self.path.include.iter().map(Pattern::text);
        hints.extend(
            queries
                .filter(|path| path.contains("?") && path.contains('='))
                .map(|path| {
                    format!("--path: '{path}' is compared with paths alone, which have no query")
                }),
        );
        hints
    }

    /// Whether an alert is to be written: all are, unless rules are chosen.
    pub fn admits_alert(&self, rule: &str) -> bool {
        self.rule.admits(|id| id == rule)
    }

    fn status_admits(&self, event: &HttpEvent) -> bool {
        let last = event.response.as_ref().map(|r| r.status);
        let heads = || event.informational.iter().map(|r| r.status);
        // An exclusion looks at the final status alone where there is one: '!1xx' must not hide
        // a 200 because a 103 came before it.
        let excluded = match last {
            Some(status) => self.status.exclude.iter().any(|s| s.contains(status)),
            None => self
                .status
                .exclude
                .iter()
                .any(|s| heads().any(|h| s.contains(h))),
        };
        let include = &self.status.include;
        !excluded
            && (include.is_empty()
                || include
                    .iter()
                    .any(|s| last.into_iter().chain(heads()).any(|h| s.contains(h))))
    }

    /// Either end counts.
    fn processes_admit(&self, event: &HttpEvent) -> bool {
        let ends = || event.client_process.iter().chain(&event.server_process);
        let process = |p: &Pattern| {
            let of = |process: &Process| {
                let name = process.name.as_deref();
                name.is_some_and(|name| p.matches(name.as_bytes()))
                    || p.matches(process.pid.to_string().as_bytes())
            };
            ends().any(|process| of(process))
        };
        let container = |p: &Pattern| {
            let mut all = ends().filter_map(|process| process.workload.container.as_ref());
            all.any(|container| p.matches(container.id.as_bytes()))
        };
        self.process.admits(process) && self.container.admits(container)
    }

    fn request_admits(&self, event: &HttpEvent) -> bool {
        let request = event.request.as_ref();
        let method = |m: &String| request.is_some_and(|r| *r.method == *m.as_bytes());
        if !self.method.admits(method) {
            return false;
        }
        let agent = request.and_then(|r| r.headers.first_known(Known::USER_AGENT));
        if !self
            .user_agent
            .admits(|p| agent.is_some_and(|a| p.matches(a)))
        {
            return false;
        }
        let uses = |c: &Choice<Pattern>| !(c.include.is_empty() && c.exclude.is_empty());
        if !uses(&self.host) && !uses(&self.path) {
            return true;
        }
        let target = request.map(Target::of);
        let host = target.as_ref().and_then(|t| t.host);
        let path = target.as_ref().and_then(|t| t.path);
        self.host.admits(|p| host.is_some_and(|h| p.matches(h)))
            && self.path.admits(|q| path.is_some_and(|p| q.matches(p)))
    }
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
mod tests {
    use std::sync::Arc;

    use super::*;
    use http_trace_model::process::{Container, Workload};
    use http_trace_model::testing;

    #[test]
    fn either_end_is_chosen_by_its_process_or_container() {
        let mut event = testing::event();
        let process = |pid, name: &str, id: &str| {
            let container = (!id.is_empty()).then(|| Container {
                id: id.into(),
                runtime: None,
            });
            Some(Arc::new(Process {
                pid,
                name: Some(name.into()),
                workload: Workload {
                    container,
                    ..Workload::default()
                },
                ..Process::default()
            }))
        };
        event.client_process = process(7, "curl", "");
        event.server_process = process(8, "nginx", "3f5a77");
        let choice = |text: &str| {
            let mut choice = Choice::default();
            let (not, text) = http_trace_model::value::negated(text);
            choice.push(not, Pattern::parse(text, false).expect("a pattern"));
            choice
        };
        for (process, container, expected) in [
            ("*", "*", true),
            ("curl", "*", true),
            ("ng*", "3f5a*", true),
            ("8", "3f5a77", true),
            ("ngin", "*", false),
            ("*", "3f5a", false),
            ("!curl", "*", false),
            ("!python*", "!4*", true),
        ] {
            let selection = Selection {
                process: choice(process),
                container: choice(container),
                ..Selection::default()
            };
            assert_eq!(selection.admits(&event), expected, "{process} {container}");
        }
        let anybody = Selection {
            process: choice("*"),
            ..Selection::default()
        };
        assert!(!anybody.admits(&testing::event()), "nobody is known");
    }

    #[test]
    fn status_lists() {
        for (text, expected) in [
            ("404", Some((404, 404))),
            ("5xx", Some((500, 599))),
            ("9XX", Some((900, 999))),
            ("400-499", Some((400, 499))),
            ("099", None),
            ("0xx", None),
            ("1000", None),
            ("6x", None),
            ("xx", None),
            ("499-400", None),
            ("+12", None),
            ("", None),
        ] {
            let got = Statuses::parse(text).ok().map(|s| (s.first, s.last));
            assert_eq!(got, expected, "{text:?}");
        }
    }

    /// Builds a selection from options as they are typed.
    fn selection(options: &[&str]) -> Selection {
        let words = ["http-trace", "-r", "x"]
            .into_iter()
            .chain(options.iter().copied());
        crate::config::testing::config(words).selection()
    }

    #[test]
    fn any_value_of_an_option_all_options_and_exclusions_win() {
        // GET http://shop.example/cart/7?x=1, curl/8.5.0 → 404, text/html, after 1 ms
        let event = testing::event();
        for (options, expected) in [
            (&[][..], true),
            (&["--status", "404"], true),
            (&["--status", "200,4xx"], true),
            (&["--status", "5xx"], false),
            (&["--status", "!404"], false),
            (&["--status", "4xx,!404"], false),
            (&["--status", "!5xx"], true),
            (&["--status", "1xx"], false),
            (&["--method", "get"], true),
            (&["--method", "POST,PUT"], false),
            (&["--method", "!GET"], false),
            (&["--host", "*.EXAMPLE"], true),
            (&["--host", "{a,shop}.example"], true),
            (&["--host", "shop.example:80"], false),
            (&["--host", "!shop.*"], false),
            (&["--path", "/cart/*"], true),
            (&["--path", "/cart/?"], true),
            (&["--path", "/cart"], false),
            (&["--path", "*x=1*"], false),
            (&["--path", "!/healthz"], true),
            (&["--path", "/*", "--path", "!/cart/*"], false),
            (&["--user-agent", "curl*"], true),
            (&["--user-agent", "!kube-probe*"], true),
            (&["--user-agent", "!CURL*"], false),
            (&["--header", "content-type=text/*"], true),
            (&["--header", "Accept=*"], true),
            (&["--header", "content-type=image/*"], false),
            (&["--header", "!content-type=*"], false),
            (&["--min-latency", "1ms"], true),
            (&["--min-latency", "1.1ms"], false),
            (&["--min-latency", "!1ms"], false),
            (&["--status", "404", "--method", "POST"], false),
            (
                &[
                    "--status",
                    "404",
                    "--path",
                    "/cart/*",
                    "--host",
                    "shop.example",
                ],
                true,
            ),
        ] {
            assert_eq!(selection(options).admits(&event), expected, "{options:?}");
        }
    }

    #[test]
    fn a_sample_is_of_its_size_and_the_same_each_time() {
        let selection = selection(&["--sample", "2xx=10%,404=0%,4xx=100%"]);
        let mut event = testing::event();
        assert!(!selection.samples(&event), "404 comes first");
        for (status, expected) in [
            (403, 10_000..=10_000),
            (204, 900..=1_100),
            (500, 10_000..=10_000),
        ] {
            event.response.as_mut().expect("a response").status = status;
            for of_log in [false, true] {
                let count = (1..=10_000_u64).filter(|n| {
                    event.id = if of_log { 0 } else { *n };
                    event.sequence = *n;
                    let first = selection.samples(&event);
                    assert_eq!(selection.samples(&event), first);
                    first
                });
                let count = count.count();
                assert!(expected.contains(&count), "{status}: {count}");
            }
        }
        event.response = None;
        assert!(selection.samples(&event));
        for wrong in ["2xx", "2xx=1", "2xx=101%", "2xx=-1%", "xx=1%", "2xx=NaN%"] {
            assert!(Sample::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_may_be_meant_is_said_of_patterns_without_wildcard() {
        for (options, expected) in [
            (&["--path", "/api"][..], Some("did you mean '/api*'?")),
            (&["--path", "api"], Some("did you mean '*api*'?")),
            (&["--path", "/a?x=1"], Some("have no query")),
            (&["--host", "example"], Some("did you mean '*example*'?")),
            (&["--user-agent", "curl"], Some("did you mean 'curl*'?")),
            (&["--header", "accept=text"], Some("did you mean 'text*'?")),
            (&["--path", "!/api"], None),
            (&["--path", "/api/*", "--host", "{a,b}.c"], None),
            (&["--status", "404"], None),
        ] {
            let hints = selection(options).hints();
            assert_eq!(hints.len(), usize::from(expected.is_some()), "{hints:?}");
            assert!(
                hints
                    .iter()
                    .all(|h| h.contains(expected.unwrap_or_default()))
            );
        }
    }

    #[test]
    fn informational_heads_select_and_never_hide_their_final_response() {
        let mut event = testing::event();
        event.informational.push(testing::response(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        ));
        for (options, expected) in [
            (["--status", "1xx"], true),
            (["--status", "103"], true),
            (["--status", "100"], false),
            (["--status", "!1xx"], true),
            (["--header", "link=*"], true),
        ] {
            assert_eq!(selection(&options).admits(&event), expected, "{options:?}");
        }
        event.response = None;
        assert!(selection(&["--status", "1xx"]).admits(&event));
        assert!(!selection(&["--status", "!1xx"]).admits(&event));
    }

    #[test]
    fn what_is_not_known_matches_nothing() {
        let mut event = testing::event();
        event.request = None;
        event.request_end_ns = None;
        for (options, expected) in [
            (["--method", "GET"], false),
            (["--method", "!GET"], true),
            (["--path", "*"], false),
            (["--path", "!*"], true),
            (["--host", "*"], false),
            (["--min-latency", "1ns"], false),
        ] {
            assert_eq!(selection(&options).admits(&event), expected, "{options:?}");
        }
    }
}
