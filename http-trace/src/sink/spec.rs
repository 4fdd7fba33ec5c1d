//! Parses one `--output`: `FORMAT[:PLACE][,OPTION=VALUE]…`. Performs no I/O.
//!
//! An option of one output is a row of [`OPTIONS`] and a field of [`OutputSpec`], or one of [`FILTERS`]. A word without
//! `=` belongs to the value of the option before it, so that values may be lists.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http_trace_detect::rule::{Level, Severity};
use http_trace_report::Form;

use super::choice::{EVERY_NS, LEAST_EVERY_NS, Signal};
use super::fields::Fields;
use super::format::Format;
use super::log_file::{Rotation, parse_mode};
use super::otlp::exporter::Collector;
use super::report::ReportSpec;
use crate::select::Selection;
use crate::select::filters::{FILTERS, cut, nanoseconds};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    pub format: Format,
    pub place: Destination,
    pub alerts: Alerts,
    /// Which fields of events are written; `None`: all.
    pub fields: Option<Fields>,
    /// Permissions of its file if it is created; `None`: 0600.
    pub mode: Option<u32>,
    /// When its file is rotated.
    pub rotation: Rotation,
    /// Signals sent to a collector.
    pub signals: Vec<Signal>,
    /// Filters of its own, in addition to those of the run.
    pub only: OutputFilter,
    pub report: ReportSpec,
    /// Interval of a summary, ns.
    pub every_ns: u64,
}

/// Destination of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    File(PathBuf),
    Collector(Collector),
}

impl Destination {
    pub fn file(&self) -> Option<&Path> {
        match self {
            Destination::File(path) => Some(path),
            Destination::Stdout | Destination::Collector(_) => None,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Stdout => f.write_str("standard output"),
            Destination::File(path) => write!(f, "{}", path.display()),
            Destination::Collector(collector) => write!(f, "{collector}"),
        }
    }
}

/// Filters of one output. Equal if their text is.
#[derive(Clone, Debug, Default)]
pub struct OutputFilter {
    pub selection: Selection,
    /// Their text.
    given: Vec<(&'static str, String)>,
}

impl OutputFilter {
    /// Their text: `status=5xx,client=internal`.
    pub fn given(&self) -> String {
        let each = self.given.iter().map(|(name, value)| format!("{name}={value}"));
        each.collect::<Vec<_>>().join(",")
    }
}

impl PartialEq for OutputFilter {
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given
    }
}

impl Eq for OutputFilter {}

/// Which alerts one output writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alerts {
    /// This level and above.
    From(Level),
    None,
}

impl Alerts {
    pub fn admit(self, severity: Severity) -> bool {
        matches!(self, Alerts::From(level) if severity.level() >= level)
    }
}

struct OutputOption {
    name: &'static str,
    /// Parses the value, a list if it contains commas; the error says what was expected.
    set: fn(&mut OutputSpec, &str) -> Result<(), String>,
}

const OPTIONS: &[OutputOption] = &[
    OutputOption {
        name: "alerts",
        set: |spec, value| {
            let alerts = match value {
                "none" => Some(Alerts::None),
                level => Level::of(level).map(Alerts::From),
            };
            let alerts = alerts.filter(|_| !spec.format.is_events_only());
            spec.alerts = alerts
                .ok_or("info, low, medium, high, critical or none, on an output that has alerts")?;
            Ok(())
        },
    },
    OutputOption {
        name: "fields",
        set: |spec, value| {
            if spec.format != Format::Json {
                return Err("names of fields, on an output of json".to_owned());
            }
            spec.fields = Some(Fields::parse(value)?);
            Ok(())
        },
    },
    OutputOption {
        name: "mode",
        set: |spec, value| {
            spec.mode = parse_mode(value).filter(|_| spec.place.file().is_some());
            spec.mode.map(drop).ok_or_else(|| {
                "600, 640, 644, 660 or 664 (permissions of the file), on an output to a file"
                    .to_owned()
            })
        },
    },
    OutputOption {
        name: "rotate",
        set: |spec, value| {
            let is_log = spec.place.file().is_some() && spec.format != Format::Report;
            let age = |text: &str| nanoseconds(text).ok();
            let mut all = value.split(',').filter(|_| is_log);
            let set = all.try_fold((), |(), one| spec.rotation.set(one, age));
            set.filter(|()| spec.rotation.is_set()).ok_or_else(|| {
                "a size (100M, 1G), a time of at least 1s (1d), or both, on an output to a file"
                    .to_owned()
            })
        },
    },
    OutputOption {
        name: "keep",
        set: |spec, value| {
            let keep = value.parse().ok().filter(|keep| *keep <= 1000);
            spec.rotation.keep = keep
                .filter(|_| spec.place.file().is_some())
                .ok_or("how many rotated files stay, 0 to 1000, on an output to a file")?;
            Ok(())
        },
    },
    OutputOption {
        name: "signals",
        set: |spec, value| {
            let signals: Option<Vec<_>> = value.split(',').map(Signal::named).collect();
            spec.signals = signals
                .filter(|_| spec.format == Format::Otlp)
                .ok_or("logs, spans and metrics, or some of them, on an output of otlp")?;
            Ok(())
        },
    },
    OutputOption {
        name: "compression",
        set: |spec, value| match (&mut spec.place, value) {
            (Destination::Collector(collector), "gzip" | "none") => {
                collector.gzip = value == "gzip";
                Ok(())
            }
            _ => Err("gzip or none, on an output of otlp".to_owned()),
        },
    },
    OutputOption {
        name: "as",
        set: |spec, value| {
            spec.report.form = Form::of(value).filter(|_| spec.format == Format::Report);
            spec.report.form.map(drop).ok_or_else(|| {
                "table, markdown, json, html or allow, on an output of report".to_owned()
            })
        },
    },
    OutputOption {
        name: "every",
        set: |spec, value| {
            let every = nanoseconds(value).ok().filter(|ns| *ns >= LEAST_EVERY_NS);
            spec.every_ns = every
                .filter(|_| [Format::Summary, Format::Otlp].contains(&spec.format))
                .ok_or("a time of at least 1s, on an output of summary or otlp")?;
            Ok(())
        },
    },
    OutputOption {
        name: "unseen",
        set: |spec, value| {
            if spec.format != Format::Report {
                return Err("a time (30d), on an output of report".to_owned());
            }
            spec.report.unseen_ns = Some(nanoseconds(value)?);
            Ok(())
        },
    },
];

impl OutputSpec {
    /// All events and alerts of a run to one destination.
    pub fn new(format: Format, place: Destination) -> Self {
        OutputSpec {
            format,
            place,
            alerts: Alerts::From(Level::Informational),
            fields: None,
            mode: None,
            rotation: Rotation::default(),
            signals: Signal::DEFAULT.to_vec(),
            only: OutputFilter::default(),
            report: ReportSpec::default(),
            every_ns: EVERY_NS,
        }
    }
}

impl OutputSpec {
    /// Its text without options: `json:FILE`.
    pub fn name(&self) -> String {
        let format = self.format.name();
        match &self.place {
            Destination::Stdout => format.to_owned(),
            place => format!("{format}:{place}"),
        }
    }
}

impl FromStr for OutputSpec {
    type Err = String;

    /// The error says what was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let want = || {
            format!(
                "{}, with :FILE to write to a file (otlp:http://HOST:4318, otlp:grpc://HOST:4317), and options such as \
                 ,status=5xx after it",
                Format::names()
            )
        };
        let (place, options) = split(text);
        if let Some(why) = spec_in(place) {
            return Err(why);
        }
        let (format, file) = match place.split_once(':') {
            Some((format, file)) => (format, Some(file)),
            None => (place, None),
        };
        let format = Format::named(format).ok_or_else(want)?;
        let place = match file {
            Some("") if format != Format::Otlp => {
                return Err("a file's name after the colon (an unset shell variable?)".to_owned());
            }
            url if format == Format::Otlp => {
                Destination::Collector(url.unwrap_or_default().parse()?)
            }
            Some("-") | None => Destination::Stdout,
            Some(file) if file.starts_with(' ') || file.starts_with("~/") => {
                return Err(
                    "no space before the file, and $HOME in place of ~, which shells leave as it is \
                     there"
                        .to_owned(),
                );
            }
            Some(file) => Destination::File(PathBuf::from(file)),
        };
        let mut spec = OutputSpec::new(format, place);
        let mut given = Vec::new();
        for (name, value) in options {
            if cut(&value).is_empty() {
                return Err(format!("a value after {name}= (an unset shell variable?)"));
            }
            if let Some(filter) = FILTERS.iter().find(|filter| filter.name == name) {
                let only = &mut spec.only;
                let added = (filter.add)(&mut only.selection, &value);
                added.map_err(|want| format!("{name}= to be {want}"))?;
                only.given.push((filter.name, value));
                continue;
            }
            let option = OPTIONS.iter().find(|option| option.name == name);
            let option = option.ok_or_else(|| no_option(name))?;
            (option.set)(&mut spec, &value).map_err(|want| format!("{name}= to be {want}"))?;
            if given.contains(&name) {
                return Err(format!("{name}= once, but it is given twice"));
            }
            given.push(name);
        }
        if given.contains(&"keep") && !spec.rotation.is_set() {
            return Err("rotate= with keep=, such as rotate=100M,keep=3".to_owned());
        }
        if spec.format == Format::Report && spec.report.form.is_none() {
            let ending = spec.place.file().and_then(Path::extension);
            spec.report.form = ending.and_then(|ending| Form::of(ending.to_str()?));
        }
        Ok(spec)
    }
}

/// Whether outputs have an option of this name, other than filters.
pub fn has_option(name: &str) -> bool {
    OPTIONS.iter().any(|option| option.name == name)
}

/// The names of all options.
fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name).chain(FILTERS.iter().map(|filter| filter.name))
}

/// Error about an unknown option, with the known ones.
fn no_option(name: &str) -> String {
    let names: Vec<&str> = names().collect();
    let near = names.iter().map(|known| (strsim::jaro_winkler(known, name), known));
    let near = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let meant = near.filter(|(likeness, _)| *likeness > 0.8);
    let meant = meant.map_or_else(String::new, |(_, known)| format!(", did you mean {known}=?"));
    format!("one of {}=; there is no {name}={meant}", names.join("=, "))
}

/// Splits off the options, each with its value. A comma before the first option belongs to the file name.
fn split(text: &str) -> (&str, Vec<(&str, String)>) {
    let mut options: Vec<(&str, String)> = Vec::new();
    let (mut place, mut at) = (text, 0);
    for part in text.split(',') {
        match (part.split_once('='), options.last_mut()) {
            // The first part is the format and the file, whose name may contain `=`.
            (Some((name, value)), _) if at > 0 && is_name(name) => {
                if options.is_empty() {
                    place = &text[..at - 1];
                }
                options.push((name, value.to_owned()));
            }
            (_, Some((_, value))) => {
                value.push(',');
                value.push_str(part);
            }
            _ => {}
        }
        at += part.len() + 1;
    }
    (place, options)
}

/// Error about a file name that holds another output, or an option after a space.
fn spec_in(place: &str) -> Option<String> {
    place.match_indices(',').find_map(|(at, _)| {
        let (before, after) = (&place[..at], place[at + 1..].trim_start());
        if let Some((name, _)) = after.split_once('=')
            && names().any(|known| known == name)
        {
            return Some(format!("no space before the option: {before},{after}"));
        }
        Format::named(after.split([':', ',']).next()?)?;
        Some(format!(
            "one output per value: -o {before} -o {after} (in HTTP_TRACE_OUTPUT a line for each, in the file a list)"
        ))
    })
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_options() {
        let medium = Alerts::From(Level::Medium);
        let all = Alerts::From(Level::Informational);
        for (text, file, alerts) in [
            ("json", None, all),
            ("json:-", None, all),
            ("json,alerts=medium", None, medium),
            ("json:-,alerts=none", None, Alerts::None),
            ("json:/tmp/x:y", Some("/tmp/x:y"), all),
            ("json:a,b", Some("a,b"), all),
            ("json:a=b,c", Some("a=b,c"), all),
            ("json:a,/b=c", Some("a,/b=c"), all),
            ("json:a,b,alerts=medium", Some("a,b"), medium),
            ("json:a, b:c,/d/csv:e", Some("a, b:c,/d/csv:e"), all),
        ] {
            let expected = OutputSpec {
                alerts,
                ..OutputSpec::new(
                    Format::Json,
                    file.map_or(Destination::Stdout, |file| Destination::File(file.into())),
                )
            };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn options_of_one_output_stand_side_by_side() {
        let spec = "json:a,fields=client.ip,url.*,mode=640,alerts=none";
        let spec = spec.parse::<OutputSpec>().expect("good");
        assert_eq!(spec.fields, Fields::parse("client.ip,url.*").ok());
        assert_eq!((spec.mode, spec.alerts), (Some(0o640), Alerts::None));
    }

    #[test]
    fn a_file_rotates_as_it_is_told() {
        let spec = "json:a,rotate=100M,1d,keep=3,mode=640".parse::<OutputSpec>();
        let rotation = spec.expect("good").rotation;
        assert_eq!(rotation.bytes, Some(100 << 20));
        assert_eq!(rotation.age, Some(std::time::Duration::from_secs(86_400)));
        assert_eq!(rotation.keep, 3);
    }

    #[test]
    fn faults_say_what_there_is() {
        for (text, expected) in [
            (
                "xml",
                "json, pretty, tracee, tracee-v1, eve, zeek, zeek-tsv, csv, otlp, report or summary",
            ),
            ("json:", "a file's name after the colon"),
            ("json:~/x.json", "$HOME in place of ~"),
            ("json: x.json", "no space before the file"),
            (
                ",alerts=high",
                "json, pretty, tracee, tracee-v1, eve, zeek, zeek-tsv, csv, otlp, report or summary",
            ),
            (
                "json:a,clients=internal",
                "server=, sample=; there is no clients=, did you mean client=?",
            ),
            ("json,alerts=loud", "alerts= to be info, low, medium"),
            ("json,alerts=high,low", "alerts= to be info, low, medium"),
            ("csv,alerts=high", "an output that has alerts"),
            ("json,every=5s", "on an output of summary"),
            ("json,compression=gzip", "on an output of otlp"),
            ("otlp:http://a,signals=traces", "logs, spans and metrics"),
            ("otlp", "otlp:grpc://HOST:4317"),
            ("otlp:ftp://a", "otlp:grpc://HOST:4317"),
            ("otlp:grpc://", "otlp:grpc://HOST:4317"),
            ("otlp:grpc://a:b", "otlp:grpc://HOST:4317"),
            ("otlp:grpc://a:0", "otlp:grpc://HOST:4317"),
            ("otlp:grpc://a/v1/logs", "otlp:grpc://HOST:4317"),
            ("otlp:grpcs://me:secret@a", "otlp:grpc://HOST:4317"),
            ("otlp:/tmp/file", "otlp:grpc://HOST:4317"),
            ("summary,every=5ms", "at least 1s"),
            ("json:a,mode=666", "mode= to be 600, 640"),
            ("json:a,mode=440", "mode= to be 600, 640"),
            ("json:a,mode=0640", "mode= to be 600, 640"),
            ("json,mode=640", "on an output to a file"),
            ("json,rotate=1M", "on an output to a file"),
            ("json:a,rotate=5", "a size (100M, 1G)"),
            ("json:a,keep=-1", "0 to 1000"),
            ("json:a,keep=3", "rotate=100M,keep=3"),
            ("json:a,alerts=high,alerts=medium", "alerts= once"),
            ("json:a,rotate=1M,rotate=1d", "rotate= once"),
            ("summary,every=5s,status=5xx,every=6s", "every= once"),
            ("report,as=html,as=json", "as= once"),
            ("pretty,fields=compact", "on an output of json"),
            ("json:b.json,csv:c.csv", "-o json:b.json -o csv:c.csv (in HTTP_TRACE_OUTPUT a line"),
            (
                "json:b.json, csv:c.csv,mode=640",
                "one output per value: -o json:b.json -o csv:c.csv",
            ),
            ("json,csv", "-o json -o csv"),
            ("json:b.json,pretty", "-o json:b.json -o pretty"),
            ("json:h.json, mode=640", "no space before the option: json:h.json,mode=640"),
            ("json:h.json, status=5xx", "no space before the option: json:h.json,status=5xx"),
            ("json,fields=client.ip,nothing", "'nothing' is none"),
        ] {
            let error = text.parse::<OutputSpec>().expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn an_output_takes_filters() {
        let spec: OutputSpec =
            "json:a,status=4xx,!404,client=internal,mode=640".parse().expect("an output");
        assert_eq!(spec.place, Destination::File("a".into()));
        assert_eq!(spec.mode, Some(0o640));
        let only = &spec.only.selection;
        assert_eq!(
            only.status.0.iter().map(|(excluded, _)| *excluded).collect::<Vec<_>>(),
            [false, true]
        );
        assert!(only.client.included().count() > 5);
        assert_eq!(
            spec.only,
            "csv,status=4xx,!404,client=internal".parse::<OutputSpec>().expect("one").only
        );
        // An empty one would let everything through.
        for name in FILTERS.iter().map(|filter| filter.name) {
            for empty in ["", " ", ","] {
                let error = format!("json:a,{name}={empty}").parse::<OutputSpec>();
                let error = error.expect_err("nothing to filter by");
                assert!(error.starts_with(&format!("a value after {name}=")), "{error}");
            }
        }
        let error = "json,status=6x".parse::<OutputSpec>().expect_err("no status");
        assert!(error.contains("status= to be a code from 100"), "{error}");
    }

    #[test]
    fn levels_admit_from_there_on() {
        let severity = |n| Severity::new(n).expect("a severity");
        let medium = Alerts::From(Level::Medium);
        assert!(!medium.admit(severity(3)) && medium.admit(severity(4)));
        assert!(!Alerts::None.admit(severity(10)));
    }
}
