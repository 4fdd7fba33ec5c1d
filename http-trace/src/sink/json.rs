//! Records as JSON with the names of the Elastic Common Schema, written from the field tables into a
//! buffer: no tree, no serializer per field. Decides nothing, performs no I/O.

mod alert;
mod headers;
mod peers;
mod plan;
pub mod tables;
mod value;

use super::choice::Style;
use super::render::{Entry, Render};
use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_model::field::Field;
use http_trace_model::field::event::EVENT;
use http_trace_model::field::loss::LOSS;
use plan::ROOT;
use tables::{Shape, Tables};
use value::comma;

pub use alert::ALERT;

const SHAPE: Shape = Shape {
    nested: true,
    pairs: false,
};

/// Writes records as JSON.
#[derive(Debug)]
pub struct Json {
    tables: Tables,
    /// The steps of an event that are the same for all of its connection.
    of_connection: std::ops::Range<usize>,
    connections: peers::Cache,
}

impl Json {
    /// The style's host name, header fields and fields of events are used. Alerts and losses are
    /// written whole.
    pub fn new(style: &Style) -> Self {
        let is_chosen = |field: &&Field<HttpEvent>| match &style.fields {
            Some(fields) => fields.admit(field),
            None => field.get.is_some(),
        };
        let steps = || EVENT.iter().copied().flatten().filter(is_chosen);
        let is_shared = |field: &Field<HttpEvent>| field.about.of_connection;
        let start = steps().take_while(|field| !is_shared(field)).count();
        let shared = steps().skip(start).take_while(|field| is_shared(field));
        Json {
            of_connection: start..start + shared.count(),
            connections: peers::Cache::default(),
            tables: Tables::new(style, SHAPE, steps(), ALERT, LOSS),
        }
    }
}

impl Render for Json {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let Tables {
            events: plan,
            choices,
            ..
        } = &self.tables;
        let mut view = self.tables.view(entry);
        let shared = self.of_connection.clone();
        out.push(b'{');
        let open = plan.append(0..shared.start, ROOT, &mut view, choices, out);
        plan.turn(open, ROOT, out);
        let mut open = ROOT;
        if !shared.is_empty() {
            let (text, left) = self.connections.get(entry.event, |out| {
                plan.append(shared.clone(), ROOT, &mut view, choices, out)
            });
            if !text.is_empty() {
                comma(out);
                out.extend_from_slice(text);
            }
            open = left;
        }
        let rest = shared.end..plan.all().end;
        let open = plan.append(rest, open, &mut view, choices, out);
        plan.turn(open, ROOT, out);
        out.extend_from_slice(b"}\n");
    }

    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>) {
        self.tables.alert(alert, out);
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        self.tables.loss(loss, out);
    }
}

#[cfg(test)]
mod tests;
