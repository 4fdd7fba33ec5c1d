//! All outputs of a run: formats selected events, writes them, and counts what was written and lost. Must not
//! redact.

mod news;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use self::news::{ReportedLosses, UNDELIVERED, queue_losses};
use super::choice::{Color, Style};
use super::deliver::{Delivery, Notice, Target};
use super::failing::Failing;
use super::format::Format;
use super::json::Json;
use super::log_file::{Before, LogFile};
use super::otlp::exporter::{Exporter, State};
use super::render::{Entry, Render};
use super::spec::{Alerts, Destination, OutputFilter, OutputSpec};
use super::whole_file;
use super::writer::{Broken, Pace, WhenFull, Writer};
use crate::messages::{ByOutput, NotReadable, Records, WrittenCounts};
use crate::own_sockets::OwnSockets;
use crate::select::Selection;
use crate::sync::unix_ns;
use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};

/// Whether the run should continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Go,
    /// The requested number of events is written, or nobody reads any more.
    Stop,
}

#[derive(Clone, Debug)]
pub struct Outputs {
    /// One per `--output`; empty: the default for standard output.
    pub specs: Vec<OutputSpec>,
    /// What the styles of all outputs have in common.
    pub style: Style,
    /// Colours of `pretty`.
    pub color: Color,
    pub line_buffered: bool,
    /// Queue limit of each output, bytes.
    pub queue: usize,
    /// Number of response events after which the run stops.
    pub count: Option<u64>,
    /// Where alerts are sent in addition to the outputs.
    pub alerts_to: Vec<Target>,
}

#[derive(Debug)]
pub struct Outlet {
    left: Option<u64>,
    outputs: Vec<OneOutput>,
    deliveries: Vec<(Delivery, ReportedLosses)>,
    /// Renders alerts for deliveries.
    notices: Json,
    pub written: WrittenCounts,
    now_ns: u64,
}

#[derive(Debug)]
struct OneOutput {
    format: Format,
    #[cfg(feature = "live")]
    is_stdout: bool,
    alerts: Alerts,
    /// Its own filters.
    only: Option<Selection>,
    /// Counts of these filters.
    by_filters: ByOutput,
    /// Whether it takes the current event.
    takes: bool,
    render: Box<dyn Render>,
    /// Alerts and losses that the format cannot express.
    left_out: u64,
    writer: Option<Writer>,
    /// Whether rotating its file fails.
    rotates: Arc<Mutex<Failing>>,
    /// What its exporter tells, if it has one.
    exporter: State,
    /// What of these was reported.
    behind: ReportedLosses,
    /// Records dropped and not reported yet, and the earliest of their times.
    dropped: Option<(Records, u64)>,
    /// All events that were not written to it.
    lost: u64,
    /// Alerts that were in its queue when it failed.
    lost_alerts: u64,
    /// Whether its reader closed the pipe.
    closed: bool,
    /// Its name and error, if it failed for another reason.
    failure: Option<(String, String)>,
}

impl Outlet {
    /// Opens files and starts writers. `own` excludes the outputs' own connections from the trace.
    ///
    /// # Errors
    /// Which output cannot be opened, and why.
    pub fn open(wanted: &Outputs, when_full: WhenFull, own: &OwnSockets) -> Result<Self, String> {
        let stdout_is_terminal = io::stdout().is_terminal();
        let format = if stdout_is_terminal { Format::Pretty } else { Format::Json };
        let default = OutputSpec::new(format, Destination::Stdout);
        let specs = match wanted.specs.as_slice() {
            [] => std::slice::from_ref(&default),
            some => some,
        };
        let mut outputs = Vec::new();
        for spec in specs {
            let terminal = spec.place == Destination::Stdout && stdout_is_terminal;
            let style = Style {
                fields: spec.fields.clone(),
                report: spec.report.clone(),
                signals: spec.signals.clone(),
                every_ns: spec.every_ns,
                ..style(wanted, terminal)
            };
            let (render, state) = (spec.format.render(&style), State::default());
            let pace = match (&spec.place, wanted.line_buffered || terminal) {
                (Destination::Collector(_), _) => Pace::Batches,
                (_, true) => Pace::Lines,
                (_, false) => Pace::Blocks,
            };
            let name = spec.place.to_string();
            let mut rotates = Arc::default();
            let writer = match &spec.place {
                Destination::Collector(collector) => collector.transport(own).map(|transport| {
                    let state = state.clone();
                    let exporter = Exporter::new(transport, &style.hostname, when_full, state);
                    Box::new(exporter) as Box<dyn Write + Send>
                }),
                _ => destination(spec, when_full, render.head()).map(|(to, failing)| {
                    rotates = failing;
                    to
                }),
            }
            .and_then(|to| Writer::start(to, name.clone(), wanted.queue, when_full, pace))
            .map_err(|why| format!("cannot write to {name}: {why}"))?;
            outputs.push(OneOutput {
                format: spec.format,
                #[cfg(feature = "live")]
                is_stdout: spec.place == Destination::Stdout,
                alerts: spec.alerts,
                only: (spec.only != OutputFilter::default()).then(|| spec.only.selection.clone()),
                by_filters: ByOutput {
                    name: spec.name(),
                    filters: spec.only.given(),
                    hints: spec.only.selection.hints("", "="),
                    ..ByOutput::default()
                },
                takes: true,
                render,
                left_out: 0,
                writer: Some(writer),
                rotates,
                exporter: state,
                behind: ReportedLosses::default(),
                dropped: None,
                lost: 0,
                lost_alerts: 0,
                closed: false,
                failure: None,
            });
        }
        let deliver = |target: &Target| match Delivery::start(target, own) {
            Ok(delivery) => Ok((delivery, ReportedLosses::default())),
            Err(why) => Err(format!("cannot write to {target}: {why}")),
        };
        let only_counted =
            !outputs.is_empty() && outputs.iter().all(|o| o.format == Format::Summary);
        Ok(Outlet {
            deliveries: wanted.alerts_to.iter().map(deliver).collect::<Result<_, _>>()?,
            notices: Json::new(&style(wanted, false)),
            left: wanted.count,
            outputs,
            written: WrittenCounts { only_counted, ..WrittenCounts::default() },
            now_ns: 0,
        })
    }

    /// Ends waits for failing collectors soon after this flag is set.
    pub fn end_waits_with(&mut self, stop: &Arc<AtomicBool>) {
        for one in self.outputs.iter_mut().filter(|one| one.format == Format::Otlp) {
            one.exporter.end_with(stop);
            one.writer.iter_mut().for_each(|writer| writer.stop = Some(Arc::clone(stop)));
        }
    }

    /// Counts an event, written or not.
    pub fn saw(&mut self, event: &HttpEvent) {
        self.now_ns = self.now_ns.max(event.time_ns);
        self.written.saw(event);
    }

    /// Counts an alert, written or not.
    pub fn saw_alert(&mut self, alert: &Alert) {
        self.now_ns = self.now_ns.max(alert.time_ns);
        self.written.alerted(alert);
    }

    /// Whether any output takes this event, which [`Outlet::event`] writes next. Filters see it unredacted.
    pub fn takes(&mut self, event: &HttpEvent) -> bool {
        let mut takes = false;
        for one in &mut self.outputs {
            let only = one.only.as_ref();
            one.takes = only.is_none_or(|only| only.admits(event) && only.samples(event));
            takes |= one.takes;
            if one.takes { one.by_filters.took += 1 } else { one.by_filters.left_out += 1 }
        }
        takes
    }

    /// Writes an event to the outputs that take it.
    pub fn event(&mut self, entry: &Entry<'_>) {
        for one in self.outputs.iter_mut().filter(|one| one.takes) {
            one.event(entry, self.now_ns, &mut self.written);
        }
        self.written.events += 1;
        let event = entry.event;
        let is_response = event.response.is_some() || !event.informational.is_empty();
        if let (true, Some(left)) = (is_response, &mut self.left) {
            *left -= 1;
        }
    }

    /// Whether all outputs only count events by server and status.
    pub fn only_counts(&self) -> bool {
        self.outputs.iter().all(|one| one.format == Format::Summary)
    }

    /// Writes what is due at this time (Unix ns) even without events.
    pub fn tick(&mut self, now_ns: u64) {
        for one in &mut self.outputs {
            one.tick(now_ns);
        }
    }

    /// Finds outputs that nobody reads any more, though there is nothing to write to them now.
    #[cfg(feature = "live")]
    pub fn look_for_readers(&mut self) {
        for one in &mut self.outputs {
            let Some(writer) = &one.writer else { continue };
            if let Some(broken) = writer.broken() {
                one.broke(broken);
            } else if one.is_stdout && !stdout_is_read() {
                one.broke(Broken::Closed);
            }
        }
    }

    /// Writes an alert to the outputs and sends it to the alert targets.
    pub fn alert(&mut self, alert: &Alert) {
        for one in &mut self.outputs {
            if one.format.is_events_only() {
                one.left_out += 1;
                continue;
            }
            let is_chosen = one.only.as_ref();
            let is_chosen = is_chosen.is_none_or(|only| only.admits_alert(&alert.rule.id));
            if !is_chosen || !one.alerts.admit(alert.severity) {
                continue;
            }
            let times = [alert.time_ns, self.now_ns];
            one.write(Records::ALERT, times, &mut self.written, |render, out| {
                render.alert(alert, out);
            });
        }
        if !self.deliveries.is_empty() {
            self.deliver(alert);
        }
    }

    fn deliver(&mut self, alert: &Alert) {
        let mut line = Vec::new();
        self.notices.alert(alert, &mut line);
        let notice = Notice {
            line,
            message: String::from_utf8_lossy(&alert.message()).into_owned(),
            id: alert.id,
            state: alert.state,
            rule: alert.rule.id.to_string(),
            severity: alert.severity.score(),
            time_ns: alert.time_ns,
        };
        for (delivery, _) in &self.deliveries {
            delivery.send(notice.clone());
        }
    }

    /// Writes a loss to every output, regardless of filters, and counts it.
    pub fn loss(&mut self, loss: &Loss) {
        if self.is_full() {
            return;
        }
        self.now_ns = self.now_ns.max(loss.until_ns);
        self.written.lost(loss);
        for one in &mut self.outputs {
            one.loss(loss, self.now_ns);
        }
    }

    /// Tells the outputs, before they are closed, which connections were not readable.
    pub fn unreadable(&mut self, items: &[NotReadable]) {
        for one in &mut self.outputs {
            one.render.unreadable(items);
        }
    }

    /// Tells the outputs, before they are closed, what of the input was not read: malformed lines and files.
    pub fn unread(&mut self, lines: u64, files: u64) {
        for one in &mut self.outputs {
            one.render.unread(lines, files);
        }
    }

    /// Whether the requested number of events is written.
    pub fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether it is full, an output failed for good, or nobody is left who takes anything.
    pub fn is_done(&self) -> bool {
        let is_read = || !self.deliveries.is_empty() || self.outputs.iter().any(|one| !one.closed);
        let has_failed = |one: &OneOutput| one.writer.is_none() && !one.closed;
        self.is_full() || self.outputs.iter().any(has_failed) || !is_read()
    }

    /// Writes everything pending and closes the outputs.
    pub fn close(mut self) -> WrittenCounts {
        self.losses_behind(true);
        // All at once: each may take its time.
        self.outputs.iter_mut().for_each(|one| one.end(self.now_ns));
        self.deliveries.iter().for_each(|(delivery, _)| delivery.end());
        for one in &mut self.outputs {
            let name = one.writer.as_ref().map(|writer| writer.name.clone());
            one.close(self.now_ns, &mut self.written);
            let refused = one.exporter.refused();
            if refused > 0 {
                let name = name.or(one.failure.as_ref().map(|(name, _)| name.clone()));
                let name = name.unwrap_or_default();
                self.written.refused(&name, refused, &one.exporter.why());
            }
            if one.only.is_some() {
                self.written.by_output.push(one.by_filters.clone());
            }
            *self.written.left_out.entry(one.format.name()).or_default() += one.left_out;
            let lost = Records { events: one.lost, alerts: one.lost_alerts };
            if let Some((name, why)) = &one.failure {
                self.written.failed(name, why, lost);
            } else if one.closed {
                self.written.unread += lost;
            }
        }
        // What was rejected at the very end.
        self.losses_behind(true);
        // An event counts as written if any output has it; losses are reported per output.
        let least_lost = self.outputs.iter().map(|one| one.lost).min().unwrap_or(0);
        self.written.events = self.written.events.saturating_sub(least_lost);
        for (delivery, mut behind) in self.deliveries {
            let name = delivery.name.clone();
            let told = delivery.close();
            if let Some(loss) = behind.news(told.lost, UNDELIVERED, self.now_ns, true) {
                self.written.lost(&loss);
            }
            self.written.delivered(&name, told.delivered, told.lost, told.failure);
        }
        self.written
    }
}

impl OneOutput {
    fn event(&mut self, entry: &Entry<'_>, now_ns: u64, written: &mut WrittenCounts) {
        let event = entry.event;
        // The interval of a loss covers request and response, either of which a user may search for.
        let first_ns =
            event.request_start_ns.map_or(event.time_ns, |start| start.min(event.time_ns));
        let had_room = self.write(Records::EVENT, [first_ns, now_ns], written, |render, out| {
            render.event(entry, out)
        });
        if !had_room {
            self.render.missed(entry);
        }
        // Includes the event during which the failure was found.
        self.lost += u64::from(self.writer.is_none());
    }

    /// Writes these records. Returns whether there was room in the queue.
    fn write(
        &mut self,
        records: Records,
        [first_ns, now_ns]: [u64; 2],
        written: &mut WrittenCounts,
        with: impl FnOnce(&mut dyn Render, &mut Vec<u8>),
    ) -> bool {
        self.tell_dropped(now_ns);
        let Some(writer) = &self.writer else { return false };
        match writer.write(records, |out| with(&mut *self.render, out)) {
            Ok(true) => return true,
            Ok(false) => {
                let (counts, since_ns) = self.dropped.get_or_insert((Records::NONE, first_ns));
                *counts += records;
                *since_ns = first_ns.min(*since_ns);
                self.lost += records.events;
                // Counted at once: the stream may not be read for long, or never again.
                queue_losses(records, first_ns, now_ns).for_each(|loss| written.lost(&loss));
            }
            Err(broken) => self.broke(broken),
        }
        false
    }

    /// If the queue is full, the text stays due.
    fn tick(&mut self, now_ns: u64) {
        if self.render.due_ns().is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        self.tell_dropped(now_ns);
        let Some(writer) = &self.writer else { return };
        if let Err(broken) = writer.write(Records::NONE, |out| self.render.tick(now_ns, out)) {
            self.broke(broken);
        }
    }

    fn loss(&mut self, loss: &Loss, now_ns: u64) {
        self.tell_dropped(now_ns);
        if self.format.is_events_only() {
            self.left_out += 1;
            return;
        }
        let Some(writer) = &self.writer else { return };
        // If the queue is full, the loss still appears in the summary and the exit status.
        if let Err(broken) = writer.write(Records::NONE, |out| self.render.loss(loss, out)) {
            self.broke(broken);
        }
    }

    /// Reports dropped events and alerts in the stream as soon as there is room in the queue.
    fn tell_dropped(&mut self, now_ns: u64) {
        let (Some((counts, since_ns)), Some(writer)) = (self.dropped, &self.writer) else {
            return;
        };
        if self.format.is_events_only() {
            self.dropped = None;
            self.left_out += 1;
            return;
        }
        let losses = queue_losses(counts, since_ns, now_ns);
        let tell = |out: &mut Vec<u8>| losses.for_each(|loss| self.render.loss(&loss, out));
        match writer.write(Records::NONE, tell) {
            Ok(true) => self.dropped = None,
            Ok(false) => {}
            Err(broken) => self.broke(broken),
        }
    }

    /// Appends what is left to write.
    fn end(&mut self, now_ns: u64) {
        self.tell_dropped(now_ns);
        let Some(writer) = &self.writer else { return };
        // A full queue or a failure is handled when it is closed.
        let _ = writer.write(Records::NONE, |out| out.extend(self.render.tail()));
        self.exporter.end();
        writer.end();
    }

    /// Writes what is pending. Drops that still cannot be reported in the stream are counted.
    fn close(&mut self, now_ns: u64, written: &mut WrittenCounts) {
        let Some(writer) = self.writer.take() else { return };
        let since_ns = self.dropped.take().map_or(now_ns, |(_, since_ns)| since_ns);
        let name = writer.name.clone();
        let left = match writer.close() {
            Ok(left) => left,
            Err((broken, unwritten)) => {
                self.failed(name.clone(), broken, unwritten);
                Records::NONE
            }
        };
        self.lost += left.events;
        if left != Records::NONE {
            written.abandoned(&name, left);
        }
        queue_losses(left, since_ns, now_ns).for_each(|loss| written.lost(&loss));
    }

    fn broke(&mut self, broken: Broken) {
        if let Some(writer) = self.writer.take() {
            self.failed(writer.name.clone(), broken, writer.unwritten());
        }
    }

    /// The whole queue is not written, which is a loss unless the reader closed its pipe.
    fn failed(&mut self, name: String, broken: Broken, unwritten: Records) {
        self.lost += unwritten.events;
        self.lost_alerts += unwritten.alerts;
        match broken {
            Broken::Closed => self.closed = true,
            Broken::Failed(why) => self.failure = Some((name, why)),
        }
    }
}

/// Whether standard output has a reader; a file always has one.
#[cfg(feature = "live")]
fn stdout_is_read() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut ready = [PollFd::new(&stdout, PollFlags::empty())];
    // Errors and hang-ups are told without being asked for, see poll(2).
    let polled = poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    let is_gone = ready[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
    polled.is_err() || !is_gone
}

fn destination(
    spec: &OutputSpec,
    when_full: WhenFull,
    head: Vec<u8>,
) -> io::Result<(Box<dyn Write + Send>, Arc<Mutex<Failing>>)> {
    // Traced events exist nowhere else; a capture can be read again.
    let before = match when_full {
        WhenFull::Drop => Before::Stays,
        WhenFull::Wait => Before::Goes,
    };
    let Some(path) = spec.place.file() else {
        let mut to = io::stdout();
        return match to.write_all(&head) {
            Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(source),
            _ => Ok((Box::new(to), Arc::default())),
        };
    };
    if spec.format == Format::Report && !spec.rotation.is_set() {
        return Ok((whole_file::open(path, spec.mode)?, Arc::default()));
    }
    let file = LogFile::open(path, before, spec.mode)?.headed(head)?.rotating(spec.rotation)?;
    let rotates = Arc::clone(&file.rotates);
    Ok((Box::new(file), rotates))
}

/// Style of an output; `terminal` says whether it is one.
fn style(wanted: &Outputs, terminal: bool) -> Style {
    let color = match wanted.color {
        Color::Always => true,
        Color::Never => false,
        // Also considers NO_COLOR, CLICOLOR_FORCE and TERM.
        Color::Auto => {
            let choice = anstream::AutoStream::choice(&io::stdout());
            terminal && choice != anstream::ColorChoice::Never
        }
    };
    // Some terminals do not know their size.
    let columns = || terminal_size::terminal_size().map_or(80, |(width, _)| width.0.into());
    Style {
        hostname: gethostname::gethostname().to_string_lossy().into_owned(),
        color,
        start_ns: unix_ns().unwrap_or(0),
        width: terminal.then(columns),
        ..wanted.style.clone()
    }
}

#[cfg(test)]
mod tests;
