//! What a site has: an inventory of its endpoints out of HTTP events, with what fails, what is slow, what leads
//! nowhere and what is not known. Takes events that are redacted, keeps a bounded number of everything, and
//! performs no I/O.
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
//! - [`tally`] is what is counted of an endpoint, and of everything; two add up.
//! - [`inventory`] is what is gathered, and the [`Report`] made of it.
//! - [`kept`] is what an inventory hands over to be kept from run to run, as rows, and takes from there.
//! - [`tables`] is a report as tables.
//! - [`html`] is these as a page, with charts.
//! - [`form`] is all forms of a report.
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
