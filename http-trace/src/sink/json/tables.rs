//! Writes records as JSON from the field tables of a format. Must not know a particular table.

use super::plan::{Plan, ROOT};
use super::value::Choices;
use crate::sink::choice::Style;
use crate::sink::render::{Entry, Render};
use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_model::field::{Field, View};

/// How a format arranges fields.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// A dot in a name begins a member of an object.
    pub nested: bool,
    /// Header fields are a list of objects with `name` and `value`, in the order sent.
    pub pairs: bool,
}

/// The tables of a format, prepared for writing.
#[derive(Debug)]
pub struct Tables {
    pub(super) choices: Choices,
    pub(super) hostname: Vec<u8>,
    nested: bool,
    pub(super) events: Plan<HttpEvent>,
    alerts: Plan<Alert>,
    losses: Plan<Loss>,
}

impl Tables {
    /// Uses the style's host name and header fields.
    pub fn new(
        style: &Style,
        shape: Shape,
        events: impl IntoIterator<Item = &'static Field<HttpEvent>>,
        alerts: &'static [Field<Alert>],
        losses: &'static [Field<Loss>],
    ) -> Self {
        let choices = Choices {
            response: style.headers.clone(),
            request: style.request_headers.clone(),
            pairs: shape.pairs,
        };
        Tables {
            hostname: style.hostname.as_bytes().to_vec(),
            events: Plan::new(events, &choices, shape.nested),
            alerts: Plan::new(alerts, &choices, shape.nested),
            losses: Plan::new(losses, &choices, shape.nested),
            nested: shape.nested,
            choices,
        }
    }

    /// The view that the getters of an event's fields take.
    pub fn view<'a>(&'a self, entry: &Entry<'a>) -> View<'a, HttpEvent> {
        let HttpEvent { request, response, .. } = entry.event;
        View {
            left_out: [
                request.as_ref().is_some_and(|head| self.choices.request.leaves_out(&head.headers)),
                response
                    .as_ref()
                    .is_some_and(|head| self.choices.response.leaves_out(&head.headers)),
            ],
            ..entry.view(&self.hostname)
        }
    }

    /// Prepares another table of this shape, for [`Tables::record`].
    pub fn plan<R>(&self, fields: &'static [Field<R>]) -> Plan<R> {
        Plan::new(fields, &self.choices, self.nested)
    }

    /// Appends a record of another table as a line.
    pub fn record<R>(&self, plan: &Plan<R>, record: &R, out: &mut Vec<u8>) {
        let view = View { hostname: &self.hostname, ..View::new(record) };
        self.line(plan, view, out);
    }

    fn line<R>(&self, plan: &Plan<R>, mut view: View<'_, R>, out: &mut Vec<u8>) {
        out.push(b'{');
        let open = plan.append(plan.all(), ROOT, &mut view, &self.choices, out);
        plan.turn(open, ROOT, out);
        out.extend_from_slice(b"}\n");
    }
}

impl Render for Tables {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        self.line(&self.events, self.view(entry), out);
    }

    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>) {
        self.record(&self.alerts, alert, out);
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        self.record(&self.losses, loss, out);
    }
}
