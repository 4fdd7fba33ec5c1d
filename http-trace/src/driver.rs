//! The pipeline and the stages after it, as driven by live runs and replays. All I/O goes through [`Outlet`].
//!
//! # Layout
//! - [`finished`]: the outcome of a run.

pub mod finished;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use http_trace_common::record::{Record, flag};

use self::finished::{Finished, of_unreadable, unreadable};
use crate::ban::Bans;
use crate::config::{Config, Source};
use crate::messages;
use crate::metrics::endpoints::EndpointCounts;
use crate::metrics::{Family, Metrics};
use crate::own_sockets::OwnSockets;
use crate::sink::Style;
use crate::sink::outlet::{Next, Outlet, Outputs};
use crate::sink::writer::WhenFull;
use crate::stages::{Exit, Outside, Stages};
use crate::state_file::Keeper;
#[cfg(feature = "live")]
use crate::state_file::inventory::InventoryKeeper;
use http_trace_detect::{Detector, Prepared, Reloaded, Settings};
use http_trace_engine::fragments::shipped::{self, Shipped};
use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
use http_trace_engine::stats::Unreadable;
use http_trace_model::event::{HttpEvent, Loss, LossUnit};

/// How often standard error reports traffic that cannot be read.
const REMINDER: Duration = Duration::from_secs(30);

/// A pipeline, and the stages that its events pass.
#[derive(Debug)]
pub struct Driver {
    pub pipeline: Pipeline,
    /// What events pass.
    pub stages: Stages,
    shipped: Shipped,
    reminder: Option<Reminder>,
    /// Saves detection state, with `--state`.
    pub keeper: Option<Keeper>,
    /// Whether nothing is saved although that was asked for; the reason has been printed.
    pub keeps_nothing: bool,
    is_live: bool,
}

#[derive(Debug)]
struct Reminder {
    next: Instant,
    last: Option<String>,
}

/// Settings of a detector other than its rules.
pub fn detection(config: &Config) -> Settings {
    Settings {
        live: config.source == Source::Live,
        memory: config.detect_memory,
        endpoints: config.endpoints(),
    }
}

impl Driver {
    pub fn open(
        config: &Config,
        detector: Detector,
        when_full: WhenFull,
        own: &OwnSockets,
    ) -> Result<Self, String> {
        let reminder = (!config.quiet && std::io::stderr().is_terminal())
            .then(|| Reminder { next: Instant::now() + REMINDER, last: None });
        Ok(Driver {
            pipeline: Pipeline::new(pipeline_config(config)),
            stages: Stages {
                scope: config.scope(),
                trusted: config.trusted(),
                attribution: None,
                detector,
                exit: Exit {
                    selection: config.selection(),
                    secrets: config.secrets(),
                    bans: None,
                    metrics: config.listen.map(|_| metrics(config)),
                    #[cfg(feature = "live")]
                    inventory: None,
                    outlet: Outlet::open(&outputs(config), when_full, own)?,
                },
                outside: Outside::default(),
            },
            shipped: Shipped::new(config.decap_bits()),
            reminder,
            keeper: None,
            keeps_nothing: false,
            is_live: config.source == Source::Live,
        })
    }

    /// Processes a record, unless it is out of scope.
    pub fn push(&mut self, record: &Record<'_>) -> Next {
        let stages = &mut self.stages;
        if record.header.has(flag::FRAGMENT) {
            self.pipeline.note(record, &mut |output| stages.output(output));
            add_fragment_losses(&mut self.pipeline, &mut self.shipped);
            let pipeline = &mut self.pipeline;
            let number = |encap: &_| pipeline.encap_number(encap);
            if let Some(record) = self.shipped.push(record, number)
                && stages.admits(record.header)
            {
                self.pipeline.judge(&record, &mut |output| stages.output(output));
            }
        } else if stages.admits(record.header) {
            self.pipeline.push(record, &mut |output| stages.output(output));
        }
        stages.next()
    }

    /// Processes an event that was recorded before.
    pub fn event(&mut self, event: Box<HttpEvent>) -> Next {
        self.stages.recorded(event);
        self.stages.next()
    }

    /// Advances time without a record.
    pub fn tick(&mut self, now_ns: u64) -> Next {
        let stages = &mut self.stages;
        self.shipped.expire(now_ns);
        add_fragment_losses(&mut self.pipeline, &mut self.shipped);
        self.pipeline.tick(now_ns, &mut |output| stages.output(output));
        stages.tick(now_ns);
        stages.next()
    }

    /// Applies those settings that can change during a run, other than the rules, from the next event on.
    pub fn set(&mut self, config: &Config) {
        let Stages { scope, trusted, exit, .. } = &mut self.stages;
        (*scope, *trusted) = (config.scope(), config.trusted());
        if let Some(bans) = &mut exit.bans {
            bans.trusted = trusted.clone();
        }
        (exit.selection, exit.secrets) = (config.selection(), config.secrets());
    }

    /// Applies new rules; counters of rules whose definition is unchanged are kept.
    pub fn reload(&mut self, rules: Prepared) -> Reloaded {
        let Stages { detector, exit, .. } = &mut self.stages;
        detector.reload(rules, &mut |detected| exit.take(detected))
    }

    /// Saves a part of the state when due; returns a message to print, if any.
    pub fn keep_state(&mut self) -> Option<String> {
        let detector = &self.stages.detector;
        let keeper = self.keeper.as_mut()?;
        keeper.work(detector.changes(), |snapshot| detector.save_some(snapshot))
    }

    /// Responses by server port, with `--listen`.
    pub fn by_port(&self) -> BTreeMap<u16, u64> {
        let metrics = self.stages.exit.metrics.as_ref();
        metrics.map_or_else(BTreeMap::new, Metrics::by_port)
    }

    /// All metrics of `--listen`; `of_probe` are those of the probe.
    pub fn metrics(&mut self, of_probe: &[Family]) -> String {
        let stats = self.pipeline.stats();
        let mut families = vec![
            Family::plain(
                "http_trace_connections_total", "Connections with payload.", stats.flows as f64,
            ),
            Family::plain(
                "http_trace_http_connections_total",
                "Connections with HTTP/1.x.",
                stats.http_flows as f64,
            ),
        ];
        let unreadable = Unreadable::ALL.map(|kind| {
            let of_kind = stats.unreadable.iter().filter(|((of, _), _)| *of == kind);
            (kind.name(), of_kind.map(|(_, count)| *count).sum())
        });
        families.push(Family::each(
            "http_trace_unreadable_connections",
            "Connections of unsupported protocols.",
            "protocol",
            unreadable,
        ));
        families.extend_from_slice(of_probe);
        if let Some(counts) = self.stages.attribution.as_ref().map(|a| a.counts) {
            families.push(Family::each(
                "http_trace_processes_total",
                "Event endpoints that are sockets of this host, by whether the process is known.",
                "result",
                [
                    ("named", counts.sockets - counts.unknown),
                    ("unknown", counts.unknown),
                    ("container_unnamed", counts.containers_unnamed),
                    ("pod_unnamed", counts.pods_unnamed),
                ],
            ));
        }
        let exit = &mut self.stages.exit;
        if let Some(counts) = exit.bans.as_ref().map(|bans| &bans.counts) {
            families.push(Family::each(
                "http_trace_bans_total",
                "Bans of clients by outcome; in a dry run, those that would have been made.",
                "result",
                [("banned", counts.banned), ("refused", counts.refused), ("failed", counts.failed)],
            ));
        }
        let metrics = exit.metrics.as_mut();
        metrics.map_or_else(String::new, |m| m.text(&exit.outlet.written, &families))
    }

    /// New messages: outputs and the inventory failing or recovering, and bans that failed.
    pub fn output_news(&mut self) -> Vec<String> {
        let exit = &mut self.stages.exit;
        let mut news = exit.outlet.news();
        #[cfg(feature = "live")]
        if let Some(inventory) = &mut exit.inventory {
            let unreadable = of_unreadable(self.pipeline.stats());
            inventory.unreadable(&unreadable, self.pipeline.now_ns());
            news.extend(inventory.work());
        }
        news.extend(exit.bans.as_mut().and_then(Bans::news));
        news
    }

    /// If no HTTP was seen for this many seconds: what was seen instead. `packets` holds the number of
    /// packets at `place`, and how many of them were left out.
    pub fn nothing_readable(&self, seconds: u64, packets: [u64; 2], place: &str) -> Option<String> {
        let stats = self.pipeline.stats();
        let items = of_unreadable(stats);
        let line = || messages::nothing_readable(seconds, &items, packets, place);
        (stats.http_flows == 0).then(line)
    }

    /// Traffic that cannot be read, every 30 s on a terminal if it has changed.
    pub fn reminder(&mut self, now: Instant) -> Option<String> {
        let reminder = self.reminder.as_mut().filter(|r| now >= r.next)?;
        reminder.next = now + REMINDER;
        let line = unreadable(self.pipeline.stats());
        if line == reminder.last {
            return None;
        }
        reminder.last.clone_from(&line);
        line
    }

    /// Flushes what is in flight, writes everything and closes the outputs.
    pub fn finish(mut self) -> Finished {
        let had_enough = self.stages.next() == Next::Stop;
        if !had_enough {
            let stages = &mut self.stages;
            add_fragment_losses(&mut self.pipeline, &mut self.shipped);
            self.pipeline.finish(&mut |output| stages.output(output));
            stages.finish();
        }
        let stats = self.pipeline.stats().clone();
        let fragments = self.shipped.counts();
        let bad_fragments = self.shipped.bad_checksums();
        let detect = self.stages.detector.stats();
        let Stages { detector, mut exit, outside, attribution, .. } = self.stages;
        let unreadable = of_unreadable(&stats);
        exit.outlet.unreadable(&unreadable);
        #[cfg(feature = "live")]
        if let Some(inventory) = &mut exit.inventory {
            inventory.unreadable(&unreadable, self.pipeline.now_ns());
        }
        let keeper = self.keeper.take();
        #[cfg(feature = "live")]
        let inventory = exit.inventory.take();
        let keep = move || {
            let kept = keeper.map(|keeper| keeper.finish(detector.save())).unwrap_or_default();
            #[cfg(feature = "live")]
            let inventory = inventory.map(InventoryKeeper::finish).unwrap_or_default();
            #[cfg(not(feature = "live"))]
            let inventory = Default::default();
            [kept, inventory]
        };
        // Live, saved first: a command that takes alerts may hang, and a service manager kills what takes long to end.
        // With files, which can be read again, saved after delivery: what a saved state has counted is never counted
        // again.
        let (saved, keep) = if self.is_live { (Some(keep()), None) } else { (None, Some(keep)) };
        let mut written = exit.outlet.close();
        if let Some(bans) = exit.bans {
            written.banned(bans.is_dry(), &bans.close());
        }
        let saved = saved.or_else(|| keep.map(|keep| keep()));
        let [kept, inventory] = saved.unwrap_or_default();
        Finished {
            detect,
            written,
            kept,
            inventory,
            keeps_nothing: self.keeps_nothing,
            fragments,
            bad_fragments,
            stats,
            had_enough,
            outside,
            attribution: attribution.map_or_else(Default::default, |a| a.counts),
        }
    }
}

/// Reports fragments that could not be reassembled as losses.
fn add_fragment_losses(pipeline: &mut Pipeline, shipped: &mut Shipped) {
    let now_ns = pipeline.now_ns();
    for (reason, count) in shipped.losses() {
        if count > 0 {
            pipeline.add_loss(&Loss {
                count,
                unit: LossUnit::Packets,
                place: reason,
                since_ns: now_ns.saturating_sub(shipped::PATIENCE_NS),
                until_ns: now_ns,
                detail: None,
            });
        }
    }
}

fn metrics(config: &Config) -> Metrics {
    let templates = config.metric_templates.then(|| config.endpoints().templates);
    Metrics::new(templates.map(EndpointCounts::new))
}

fn outputs(config: &Config) -> Outputs {
    Outputs {
        specs: config.output.clone(),
        style: Style {
            headers: config.headers.clone(),
            request_headers: config.request_headers.clone(),
            endpoints: config.endpoints(),
            zone: (!config.utc).then(jiff::tz::TimeZone::system),
            verbose: config.verbose,
            ..Style::default()
        },
        color: config.color,
        line_buffered: config.line_buffered,
        queue: config.output_queue,
        count: config.count,
        alerts_to: config.alerts_to.clone(),
    }
}

fn pipeline_config(config: &Config) -> PipelineConfig {
    PipelineConfig {
        emit: config.emit,
        flows: config.max_flows as usize,
        heads_bytes: config.heads_memory,
        reorder_bytes: config.reorder_memory,
        response_timeout_ns: config.response_timeout.as_nanos() as u64,
        attempt_ports: config.port.iter().map(|r| r.first..=r.last).collect(),
        tell_gaps: config.source != Source::Live,
        snippet: config.snippet(),
        ..PipelineConfig::default()
    }
}
