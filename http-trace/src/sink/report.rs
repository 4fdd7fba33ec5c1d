//! The format `report`: collects events and alerts and writes an inventory at the end of the run. Must not perform I/O.

use http_trace_detect::alert::Alert;
use http_trace_model::event::Loss;
use http_trace_report::{Form, Inventory, Options};

use super::choice::Style;
use super::render::{Entry, Render};
use crate::messages::NotReadable;
use crate::text::Escaped;

/// Contents and form of a report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportSpec {
    /// Form; `None`: by file extension.
    pub form: Option<Form>,
    /// List endpoints not seen for this long, ns.
    pub unseen_ns: Option<u64>,
}

/// Collects events and alerts and writes their report.
#[derive(Debug)]
pub struct Report {
    form: Form,
    width: Option<usize>,
    inventory: Inventory,
}

impl Report {
    pub fn new(style: &Style) -> Self {
        let spec = &style.report;
        Report {
            form: spec.form.unwrap_or(Form::Table),
            width: style.width,
            inventory: Inventory::new(Options {
                endpoints: style.endpoints.clone(),
                unseen_ns: spec.unseen_ns,
                shown: |bytes| Escaped(bytes).to_string(),
            }),
        }
    }
}

impl Render for Report {
    fn event(&mut self, entry: &Entry<'_>, _: &mut Vec<u8>) {
        self.inventory.event(entry.event);
    }

    fn alert(&mut self, alert: &Alert, _: &mut Vec<u8>) {
        self.inventory.alert(alert);
    }

    fn loss(&mut self, loss: &Loss, _: &mut Vec<u8>) {
        self.inventory.loss(loss);
    }

    fn unreadable(&mut self, items: &[NotReadable]) {
        for NotReadable { protocol, port, connections } in items {
            self.inventory.unreadable(protocol, *port, *connections);
        }
    }

    fn unread(&mut self, lines: u64, files: u64) {
        self.inventory.unread(lines, files);
    }

    fn tail(&self) -> Vec<u8> {
        let report = self.inventory.report();
        // Nothing to report: an earlier report stays.
        if report.events == 0 && report.unread.files > 0 {
            return Vec::new();
        }
        self.form.write(&report, self.width).into_bytes()
    }
}
