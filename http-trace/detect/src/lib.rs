//! Detection: applies Sigma rules to a stream of HTTP events. Uses event time only, so that a capture raises
//! the same alerts as the live run. The only I/O is reading rule files.
//!
//! ```
//! use http_trace_detect::rule::Origin;
//! use http_trace_detect::{Detected, Detector, Settings, parse};
//! use http_trace_model::event::{Endpoint, HttpEvent};
//! use http_trace_model::head::ResponseHead;
//!
//! let text = "
//! title: Missing
//! name: missing
//! logsource: { category: webserver }
//! detection: { selection: { sc-status: 404 }, condition: selection }
//! ---
//! title: Many missing
//! name: many-missing
//! correlation:
//!   type: event_count
//!   rules: missing
//!   group-by: c-ip
//!   timespan: 5m
//!   condition: { gte: 20 }
//! ";
//! let origin = Origin::File("missing.yml".into());
//! let source = parse::Source { origin, text: text.to_owned() };
//! let parsed = parse::parse(&[source], &|_name| false);
//! assert!(parsed.diagnostics.is_empty());
//!
//! let mut detector = Detector::new(parsed.rules, Settings::default());
//! let client = Endpoint { ip: [198, 51, 100, 7].into(), port: 40_000 };
//! let server = Endpoint { ip: [192, 0, 2, 80].into(), port: 80 };
//! let mut alerts = Vec::new();
//! for second in 0..20 {
//!     let time_ns = (1_795_156_800 + second) * 1_000_000_000;
//!     let mut event = HttpEvent::new(time_ns, client, server);
//!     event.response = Some(ResponseHead {
//!         minor_version: 1,
//!         version: None,
//!         status: 404,
//!         reason: Default::default(),
//!         headers: Default::default(),
//!         content_length: None,
//!         wire_len: 0,
//!         first_byte_ns: time_ns,
//!     });
//!     detector.push(Box::new(event), &mut |detected| {
//!         if let Detected::Alert(alert) = detected {
//!             alerts.push(alert);
//!         }
//!     });
//! }
//! assert_eq!(alerts.len(), 1);
//! assert_eq!((&*alerts[0].rule.id, alerts[0].count), ("many-missing", 20));
//! ```
//!
//! # Layout
//! Each module imports only from those above it.
//! - [`field`] lists the fields of rules; [`bits`] holds sets of numbers; [`decoded`] and [`derived`] compute
//!   values that are not on the wire.
//! - [`template`] is the text template of alerts; [`rule`] is a rule as data; [`rules`] compiles Sigma files
//!   to it; [`digest`] bounds the alerts that one client can raise.
//! - [`view`] gives typed values of an event; [`matcher`] evaluates a condition on it.
//! - [`memo`] is the match cache: [`facts`] keeps passed tests by value (each test is evaluated once per
//!   event), and [`candidates`] keeps matching detections by passed tests.
//! - [`hashes`] and [`keys`] compute the key that an event counts for.
//! - [`window`] and [`distinct`] count; [`native`] has the conditions that Sigma cannot express; [`evidence`]
//!   is what an [`alert`] shows. A [`counter`] combines them for one key of one rule.
//! - [`sketch`] decides which keys are admitted to [`counters`], the one bounded table; [`correlate`] updates
//!   a counter, [`lifecycle`] opens, updates and ends its alert.
//! - [`hits`] keeps the last counts of each rule and key; [`fingerprint`] tells which correlations are
//!   unchanged; [`snapshot`] saves and restores state across a restart.
//! - [`clock`] decides at which time an event counts, [`hops`] which events are the same request at another
//!   server; [`detector`] drives it all.
#![forbid(unsafe_code)]

pub mod alert;
mod bits;
mod candidates;
mod clock;
mod correlate;
mod counter;
mod counters;
mod decoded;
mod derived;
pub mod detector;
mod digest;
mod distinct;
pub mod evidence;
mod facts;
pub mod field;
mod fingerprint;
mod hashes;
pub mod hits;
mod hops;
mod keys;
mod lifecycle;
mod matcher;
mod memo;
mod native;
pub mod rule;
pub mod rules;
mod sketch;
pub mod snapshot;
mod template;
mod view;
mod window;

#[cfg(test)]
mod tests;

pub use rules::{builtin, diagnose, load, parse, tune};

pub use counters::Turnover;
pub use detector::persist::Restored;
pub use detector::reload::{Prepared, Reloaded};
pub use detector::{DetectStats, Detected, Detector, Settings};
