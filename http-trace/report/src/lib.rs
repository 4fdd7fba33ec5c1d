//! An inventory of a site, built from HTTP events: its endpoints, failures, latency, broken links and unknown
//! endpoints. Takes redacted events, bounds everything it keeps, and performs no I/O.
//!
//! ```
//! use http_trace_model::event::{Endpoint, HttpEvent};
//! use http_trace_report::{Form, Inventory, Options};
//!
//! let client = Endpoint { ip: [198, 51, 100, 7].into(), port: 40_000 };
//! let server = Endpoint { ip: [192, 0, 2, 80].into(), port: 80 };
//! let mut inventory = Inventory::new(Options::default());
//! inventory.event(&HttpEvent::new(1_795_156_807_000_000_000, client, server));
//! let report = inventory.report();
//! assert_eq!(report.events, 1);
//! assert!(Form::Markdown.write(&report, None).starts_with("# "));
//! ```
//!
//! # Layout
//! Each module imports only from those above it.
//! - [`times`] is a histogram of durations.
//! - [`tally`] holds the counters of an endpoint, a service or the whole; two of a kind can be added.
//! - [`inventory`] collects events and alerts, and builds the [`Report`].
//! - [`kept`] exports an inventory as rows to be stored across runs, and imports them.
//! - [`tables`] renders a report as tables.
//! - [`html`] renders a report as an HTML page with a chart.
//! - [`form`] lists all forms of a report.
#![forbid(unsafe_code)]

pub mod form;
pub mod html;
pub mod inventory;
pub mod kept;
pub mod tables;
pub mod tally;
pub mod times;

pub use form::Form;
pub use inventory::{Inventory, Options, Report};
