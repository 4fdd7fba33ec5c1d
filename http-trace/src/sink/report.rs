//! A report instead of a line for each event: what a site has, written when the run ends.

use std::fs;
use std::path::Path;

use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_report::{Form, Inventory, Known, Options, Templates};

use super::choice::Style;
use super::render::{Entry, Render};
use crate::text::Escaped;

/// What a report is to say, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportSpec {
    /// Its form; `None`: by the name of its file.
    pub form: Option<Form>,
    /// The list of what is known, as it was read, and the file it is of.
    pub known: Option<String>,
    /// Endpoints that did not come for so long are told, in ns.
    pub unseen_ns: Option<u64>,
    /// Templates of paths that come before those that are found.
    pub templates: Vec<String>,
}

impl ReportSpec {
    /// Reads the list of what is known.
    ///
    /// # Errors
    /// What was wanted.
    pub fn read_known(&mut self, path: &Path) -> Result<(), String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("a file: {name}: {error}"))?;
        Known::parse(&text).map_err(|wrong| format!("a list of endpoints: {name}: {wrong}"))?;
        self.known = Some(text);
        Ok(())
    }
}

/// Gathers events and alerts, and writes the report of them.
#[derive(Debug)]
pub struct Report {
    form: Form,
    width: Option<usize>,
    inventory: Inventory,
}

impl Report {
    /// The style's choice of what it says is used.
    pub fn new(style: &Style) -> Self {
        let spec = &style.report;
        let known = spec.known.as_deref().map(Known::parse);
        Report {
            form: spec.form.unwrap_or(Form::Table),
            width: style.width,
            inventory: Inventory::new(Options {
                templates: Templates::new(&spec.templates),
                // It was read before.
                known: known.and_then(Result::ok),
                unseen_ns: spec.unseen_ns,
                shown: |bytes| Escaped(bytes).to_string(),
            }),
        }
    }
}

impl Render for Report {
    fn event(&mut self, entry: &Entry<'_>, _: &mut Vec<u8>) {
        let event: &HttpEvent = entry.event;
        self.inventory.event(event);
    }

    fn alert(&mut self, alert: &Alert, _: &mut Vec<u8>) {
        self.inventory.alert(alert);
    }

    fn loss(&mut self, loss: &Loss, _: &mut Vec<u8>) {
        self.inventory.loss(loss);
    }

    fn tail(&self) -> Vec<u8> {
        let report = self.inventory.report();
        self.form.write(&report, self.width).into_bytes()
    }
}
