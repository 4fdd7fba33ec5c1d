//! Writes records as JSON with names of the Elastic Common Schema, from the field tables straight into a buffer.
//! Performs no I/O.

mod alert;
mod cache;
mod headers;
pub mod plan;
pub mod tables;
mod value;

use std::ops::Range;
use std::sync::Arc;

use super::choice::Style;
use super::render::{Entry, Render};
use cache::{Cache, ObjectState};
use http_trace_detect::alert::Alert;
use http_trace_model::event::{Endpoint, Forwarded, HttpEvent, Loss};
use http_trace_model::field::event::EVENT;
use http_trace_model::field::loss::LOSS;
use http_trace_model::field::{End, Field, end_of};
use http_trace_model::process::Process;
use plan::{ROOT, put};
use tables::{Shape, Tables};
use value::is_written;

pub use alert::ALERT;

/// Shape of `-o json`.
pub const SHAPE: Shape = Shape { nested: true, pairs: false };

/// Writes records as JSON.
#[derive(Debug)]
pub struct Json {
    tables: Tables,
    /// Steps that are the same for all events of a connection.
    of_connection: Range<usize>,
    connections: Cache<Peers>,
    /// Steps that are the same for all events of a process: of the server's and of the client's.
    ends: [(Range<usize>, Cache<Opened>); 2],
}

/// The ends of a connection: everything that its fields depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peers {
    client: Endpoint,
    server: Endpoint,
    nat_client: Option<Endpoint>,
    nat_server: Option<Endpoint>,
    forwarded: Option<Forwarded>,
    /// Whether the client has a name in place of an address; then the fields depend on that, too.
    is_named: bool,
}

/// A process, kept so that its address is not reused, and the object that is open before its fields. Shared processes
/// are immutable.
type Opened = (Arc<Process>, usize);

impl Json {
    /// Uses the style's host name, header fields and fields of events. Alerts and losses are always complete.
    pub fn new(style: &Style) -> Self {
        let is_chosen = |field: &&Field<HttpEvent>| match &style.fields {
            Some(fields) => fields.admit(field),
            None => field.get.is_some(),
        };
        let steps = || EVENT.iter().copied().flatten().filter(is_chosen);
        let tables = Tables::new(style, SHAPE, steps(), ALERT, LOSS);
        let range = |is: &dyn Fn(&Field<HttpEvent>) -> bool| {
            let written = || steps().filter(|field| is_written(field.about.kind, &tables.choices));
            let start = written().take_while(|field| !is(field)).count();
            let steps = written().skip(start).take_while(|field| is(field));
            match steps.count() {
                0 => 0..0,
                count => start..start + count,
            }
        };
        let of_end = |end| {
            let steps = range(&|field| end_of(&field.about) == Some(end));
            (steps, Cache::new(256))
        };
        Json {
            of_connection: range(&|field| field.about.of_connection),
            ends: [End::Server, End::Client].map(of_end),
            connections: Cache::new(1024),
            tables,
        }
    }
}

impl Render for Json {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let Tables { events: plan, choices, .. } = &self.tables;
        let mut view = self.tables.view(entry);
        let shared = self.of_connection.clone();
        out.push(b'{');
        let open = plan.append(0..shared.start, ROOT, &mut view, choices, out);
        plan.turn(open, ROOT, out);
        let mut open = ROOT;
        if !shared.is_empty() {
            let event = entry.event;
            let peers = Peers {
                client: event.client,
                server: event.server,
                nat_client: event.nat_client,
                nat_server: event.nat_server,
                forwarded: event.forwarded,
                is_named: event.client_name.is_some(),
            };
            let render = |out: &mut Vec<u8>| ObjectState {
                open: plan.append(shared.clone(), ROOT, &mut view, choices, out),
                escaped: false,
            };
            let place = event.connection as usize;
            let (text, left) =
                self.connections.get(place, |of| *of == peers && !peers.is_named, || peers, render);
            put(out, text);
            open = left.open;
        }
        let mut done = shared.end;
        let processes = [&entry.event.server_process, &entry.event.client_process];
        let ends = self.ends.iter_mut().zip(processes);
        for ((steps, known), process) in ends.filter(|((steps, _), _)| !steps.is_empty()) {
            open = plan.append(done..steps.start, open, &mut view, choices, out);
            done = steps.end;
            // Without a process, all these fields are absent.
            let Some(process) = process else { continue };
            let is_it = |(of, from): &Opened| Arc::ptr_eq(of, process) && *from == open;
            let place = Arc::as_ptr(process).addr() >> 4;
            let place = place ^ place >> 8 ^ open;
            let (text, left) = known.get(
                place,
                is_it,
                || (process.clone(), open),
                |out| {
                    let before = std::mem::take(&mut view.escaped);
                    let open = plan.append(steps.clone(), open, &mut view, choices, out);
                    let escaped = std::mem::replace(&mut view.escaped, before);
                    ObjectState { open, escaped }
                },
            );
            put(out, text);
            view.escaped |= left.escaped;
            open = left.open;
        }
        let open = plan.append(done..plan.all().end, open, &mut view, choices, out);
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
