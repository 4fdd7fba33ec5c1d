//! Records as JSON with the names of the Elastic Common Schema, written from the field tables into a
//! buffer: no tree, no serializer per field. Decides nothing, performs no I/O.

mod alert;
mod headers;
mod peers;
mod plan;
mod value;

use super::choice::Style;
use super::render::{Entry, Render};
use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_model::field::event::EVENT;
use http_trace_model::field::loss::LOSS;
use http_trace_model::field::{Field, View};
use http_trace_model::target::Target;
use plan::{Plan, ROOT};
use value::{Choices, comma};

pub use alert::ALERT;

/// Writes records as JSON.
#[derive(Debug)]
pub struct Json {
    choices: Choices,
    hostname: Vec<u8>,
    events: Plan<HttpEvent>,
    /// The steps of an event that are the same for all of its connection.
    of_connection: std::ops::Range<usize>,
    connections: peers::Cache,
    alerts: Plan<Alert>,
    losses: Plan<Loss>,
}

impl Json {
    /// The style's host name, header fields and fields of events are used. Alerts and losses are
    /// written whole.
    pub fn new(style: &Style) -> Self {
        let choices = Choices {
            response: style.headers.clone(),
            request: style.request_headers.clone(),
        };
        let is_chosen = |field: &&Field<HttpEvent>| match &style.fields {
            Some(fields) => fields.admit(field),
            None => field.get.is_some(),
        };
        let steps = || EVENT.iter().copied().flatten().filter(is_chosen);
        let is_shared = |field: &Field<HttpEvent>| field.about.of_connection;
        let start = steps().take_while(|field| !is_shared(field)).count();
        let shared = steps().skip(start).take_while(|field| is_shared(field));
        Json {
            hostname: style.hostname.as_bytes().to_vec(),
            of_connection: start..start + shared.count(),
            events: Plan::new(steps(), &choices),
            connections: peers::Cache::default(),
            alerts: Plan::new(ALERT, &choices),
            losses: Plan::new(LOSS, &choices),
            choices,
        }
    }
}

impl Render for Json {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let (event, plan, choices) = (entry.event, &self.events, &self.choices);
        let target = event.request.as_ref().map(Target::of);
        let mut view = View {
            target: target.unwrap_or_default(),
            user: entry.user,
            hostname: &self.hostname,
            ..View::new(event)
        };
        let shared = self.of_connection.clone();
        out.push(b'{');
        let open = plan.append(0..shared.start, ROOT, &mut view, choices, out);
        plan.turn(open, ROOT, out);
        let mut open = ROOT;
        if !shared.is_empty() {
            let (text, left) = self.connections.get(event, |out| {
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
        write(&self.alerts, alert, &self.hostname, &self.choices, out);
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        write(&self.losses, loss, &self.hostname, &self.choices, out);
    }
}

fn write<R>(plan: &Plan<R>, record: &R, hostname: &[u8], choices: &Choices, out: &mut Vec<u8>) {
    let mut view = View {
        hostname,
        ..View::new(record)
    };
    out.push(b'{');
    let open = plan.append(plan.all(), ROOT, &mut view, choices, out);
    plan.turn(open, ROOT, out);
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests;
