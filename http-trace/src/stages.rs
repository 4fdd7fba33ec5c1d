//! The stages of an event, in order: client → scope → enrich → detect → select → redact → sinks. Every source
//! of events goes through [`Stages`]; no stage knows another. All I/O goes through [`Outlet`].
//!
//! Scope also drops records before the pipeline ([`Stages::admits`]), as far as their addresses and ports decide.

use http_trace_common::record::RecordHeader;

use crate::ban::Bans;
use crate::enrich::process::Attribution;
use crate::enrich::proxy::Trusted;
use crate::metrics::Metrics;
use crate::redact::Secrets;
use crate::scope::Scope;
use crate::select::Selection;
use crate::sink::Entry;
use crate::sink::outlet::{Next, Outlet};
#[cfg(feature = "live")]
use crate::state_file::inventory::InventoryKeeper;
use http_trace_detect::{Detected, Detector};
use http_trace_model::event::{HttpEvent, Loss, Output, basic_user};

#[derive(Debug)]
pub struct Stages {
    /// Limits what is traced.
    pub scope: Scope,
    /// Names the client behind trusted proxies.
    pub trusted: Trusted,
    /// Names the processes at both ends, in live runs.
    pub attribution: Option<Attribution>,
    /// Matches rules against events: unredacted, whether or not they are written.
    pub detector: Detector,
    /// The stages after detection.
    pub exit: Exit,
    pub outside: Outside,
}

/// Numbers of what was out of scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    pub segments: u64,
    pub events: u64,
}

/// The stages after detection, for events and alerts.
#[derive(Debug)]
pub struct Exit {
    pub selection: Selection,
    /// Removes secrets; `None` with `--show-secrets`.
    pub secrets: Option<Secrets>,
    /// Bans the clients of alerts, with `--ban`.
    pub bans: Option<Bans>,
    /// Counts every event, with `--listen`.
    pub metrics: Option<Metrics>,
    /// Counts the inventory of the site, with `--state`.
    #[cfg(feature = "live")]
    pub inventory: Option<InventoryKeeper>,
    /// Formats and writes.
    pub outlet: Outlet,
}

impl Stages {
    /// Passes on an event of the engine or of a recording, whose client is known.
    fn event(&mut self, mut event: Box<HttpEvent>) {
        if !self.scope.admits_event(&event) {
            self.outside.events += 1;
            return;
        }
        if let Some(attribution) = &mut self.attribution {
            attribution.name(&mut event);
        }
        let exit = &mut self.exit;
        self.detector.push(event, &mut |detected| exit.take(detected));
    }

    /// Processes an event that was recorded before. If it already names a client behind a proxy, that is
    /// kept.
    pub fn recorded(&mut self, mut event: Box<HttpEvent>) {
        if event.forwarded.is_none() {
            self.trusted.name_client(&mut event);
        }
        self.event(event);
    }

    /// Processes output of the engine. A client named by PROXY protocol is only believed if the proxy is
    /// trusted.
    pub fn output(&mut self, output: Output) {
        match output {
            Output::Http(mut event) => {
                self.trusted.name_client(&mut event);
                self.event(event);
            }
            Output::Loss(loss) => {
                self.detector.note_loss(loss.until_ns);
                self.exit.loss(&loss);
            }
        }
    }

    /// Whether a record may belong to a connection in scope.
    pub fn admits(&mut self, record: &RecordHeader) -> bool {
        let admits = self.scope.admits_record(record, &self.trusted);
        self.outside.segments += u64::from(!admits);
        admits
    }

    /// Advances time without an event (Unix ns).
    pub fn tick(&mut self, now_ns: u64) {
        let exit = &mut self.exit;
        self.detector.tick(now_ns, &mut |detected| exit.take(detected));
        exit.outlet.tick(now_ns);
    }

    /// Ends open alerts: no more events come.
    pub fn finish(&mut self) {
        let exit = &mut self.exit;
        self.detector.finish(&mut |detected| exit.take(detected));
    }

    /// Whether the run should go on.
    pub fn next(&self) -> Next {
        if self.exit.outlet.is_done() { Next::Stop } else { Next::Go }
    }
}

impl Exit {
    /// Selects, redacts and writes events and alerts from detection.
    pub fn take(&mut self, detected: Detected) {
        let outlet = &mut self.outlet;
        if outlet.is_full() {
            return;
        }
        match detected {
            Detected::Event(mut event) => {
                outlet.saw(&event);
                if let Some(metrics) = &mut self.metrics {
                    metrics.event(&event);
                }
                let mut is_written = false;
                if !self.selection.admits(&event) {
                    if !self.selection.alerts_only {
                        outlet.written.left_out_by_filters += 1;
                    }
                } else if !self.selection.samples(&event) {
                    outlet.written.not_sampled += 1;
                } else if !outlet.takes(&event) {
                    outlet.written.taken_by_none += 1;
                } else {
                    is_written = true;
                }
                let is_kept = self.keeps_inventory() || self.counts_endpoints();
                if !is_written && !is_kept {
                    return;
                }
                let outlet = &mut self.outlet;
                let counted = outlet.only_counts() && !is_kept;
                let mut user = if counted || !is_written { None } else { basic_user(&event) };
                match &mut self.secrets {
                    Some(secrets) if counted => secrets.redact_authority(&mut event),
                    Some(secrets) if !is_written => secrets.redact_endpoint(&mut event),
                    Some(secrets) => {
                        user = user.map(|user| secrets.user(user));
                        secrets.redact(&mut event);
                    }
                    None => {}
                }
                #[cfg(feature = "live")]
                if let Some(inventory) = &mut self.inventory {
                    inventory.event(&event);
                }
                if let Some(metrics) = &mut self.metrics
                    && let Some(endpoints) = &mut metrics.endpoints
                {
                    endpoints.event(&event);
                }
                if is_written {
                    outlet.event(&Entry { event: &event, user: user.as_deref() });
                }
            }
            Detected::Alert(mut alert) => {
                outlet.saw_alert(&alert);
                alert.ban = self.bans.as_mut().and_then(|bans| bans.judge(&alert));
                let is_written = self.selection.admits_alert(&alert.rule.id);
                if !is_written && !self.keeps_inventory() {
                    return;
                }
                if let Some(secrets) = &self.secrets {
                    secrets.redact_alert(&mut alert);
                }
                #[cfg(feature = "live")]
                if let Some(inventory) = &mut self.inventory {
                    inventory.alert(&alert);
                }
                if is_written {
                    self.outlet.alert(&alert);
                }
            }
        }
    }

    fn loss(&mut self, loss: &Loss) {
        #[cfg(feature = "live")]
        if let Some(inventory) = &mut self.inventory {
            inventory.loss(loss);
        }
        self.outlet.loss(loss);
    }

    fn counts_endpoints(&self) -> bool {
        let metrics = self.metrics.as_ref();
        metrics.is_some_and(|metrics| metrics.endpoints.is_some())
    }

    const fn keeps_inventory(&self) -> bool {
        #[cfg(feature = "live")]
        return self.inventory.is_some();
        #[cfg(not(feature = "live"))]
        return false;
    }
}
