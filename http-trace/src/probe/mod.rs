//! Live capture: loads and attaches the programs, and reads their ring buffer and counters.
//!
//! Deals with kernels, interfaces and links, and knows nothing about HTTP: records are passed on unchanged.
//!
//! # Layout
//! - [`loader`] loads the object with its sizes and limits.
//! - [`attach`] attaches programs to interfaces, sockets and cgroups, and detaches them.
//! - `tc` puts programs first at TC and checks that they still are; [`watch`] tracks when packets may have
//!   been hidden from them.
//! - [`interfaces`] tracks interfaces as they come and go.
//! - [`ring`] drains records, [`clock`] converts their times, [`counters`] sums the programs' counters.
//! - [`senders`] reads who sends on sockets.
//! - [`log`] passes on log lines of the programs.
//! - [`flows`] maintains the kernel's tables; `own_map` holds the agent's own sockets.
//! - [`trial`] tries a hook and finds leftovers of an earlier run.
//! - `netlink` reads lists and changes over rtnetlink.
//! - `sys` holds system calls without a wrapper elsewhere.
//!
//! [`Probe`] combines all of these.

pub mod attach;
pub mod clock;
pub mod counters;
pub mod flows;
pub mod interfaces;
pub mod loader;
pub mod log;
mod netlink;
mod own_map;
pub mod ring;
pub mod senders;
mod sys;
mod tc;
pub mod trial;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData, RingBuf};
use http_trace_common::counter::Counter;
use http_trace_common::record::{Hook, Record, flag};
use http_trace_model::event::{Loss, LossUnit};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use attach::Attached;
use clock::Clock;
use counters::Counters;
use flows::{Flows, HandedBack};
use interfaces::{Interfaces, Wanted};
use loader::{Framing, Settings, map, mismatch, take_map};
use log::ProgramLog;
use own_map::OwnMap;
use ring::Ring;
use senders::Senders;
use watch::Hidden;

pub use sys::trim_heap;

use crate::config::TcMode;
use crate::own_sockets::OwnSockets;
use crate::privileges::{self, CapabilitySet};

/// Interval of checks of the hooks (ns). TCX sends no notification of changes.
const CHECK_EVERY_NS: u64 = 2_000_000_000;
/// Maximum number of places and reasons kept for the summary.
const MOST_HIDDEN: usize = 64;

/// What to trace, with which resources.
#[derive(Clone, Debug)]
pub struct Options {
    pub hooks: Vec<Hook>,
    pub interfaces: Wanted,
    /// How TC programs are attached.
    pub tc_mode: TcMode,
    /// Leave framing to the host even if the kernel supports it.
    pub host_framing: bool,
    /// Sizes and limits of the programs. [`Probe::start`] fills in the namespace.
    pub settings: Settings,
    /// Sockets that are never traced.
    pub own: OwnSockets,
    /// Receives log lines of the programs.
    pub say: Option<log::Say>,
}

/// The loaded programs. Dropping it unloads them.
pub struct Probe {
    ebpf: Ebpf,
    hooks: Vec<Hook>,
    /// Who does HTTP/1.x framing.
    pub framing: Framing,
    /// Why the programs cannot frame.
    why_host: Option<String>,
    wanted: Wanted,
    attached: Attached,
    interfaces: Interfaces,
    /// Whether interfaces that are down are attached to as well, so that they are seen from their first packet on.
    follows: bool,
    /// Whether changes of interfaces end a sleep: after a failure of netlink they would do so without end.
    is_watching: bool,
    /// Interfaces that were up and traced.
    traced: BTreeSet<u32>,
    /// When the hooks are next checked (kernel time, ns).
    next_check_ns: u64,
    /// Where packets may have been hidden from a hook since the start, and for how long (ns).
    pub hidden: BTreeMap<String, u64>,
    /// Names by index, including interfaces that are gone: records may still refer to them.
    names: BTreeMap<u32, Arc<str>>,
    limit: HashMap<MapData, u32, u8>,
    pub ring: Ring,
    /// Senders on sockets, or why they are unknown, if requested.
    pub senders: Option<Result<Senders, String>>,
    log: Option<ProgramLog>,
    pub counters: Counters,
    /// The table of connections in the kernel.
    pub flows: Flows,
    /// Connections that have begun since the last sweep.
    begun: usize,
    /// Whether no record has come since then, so that no connection was admitted.
    is_quiet: bool,
    handed_back: HandedBack,
    pub own: OwnSockets,
    pub clock: Clock,
}

/// A change of an interface that the user should know about.
#[derive(Debug)]
pub enum Notice {
    /// The programs are now attached to it.
    Attached(Arc<str>),
    /// They are no longer attached; with its new name if that is why.
    Detached(Arc<str>, Option<Arc<str>>),
    /// They cannot be attached; tracing continues elsewhere.
    Failed(String),
    /// Another program at its XDP hook may drop or redirect packets before ours see them.
    Before(Arc<str>, String),
    /// The programs cannot read its frames.
    Unreadable(Arc<str>, interfaces::LinkLayer),
}

impl Probe {
    /// Loads and attaches everything.
    ///
    /// # Errors
    /// Each in one line. Later changes and failures of interfaces are [`Notice`]s.
    pub fn start(options: Options) -> Result<(Self, Vec<Notice>), String> {
        let Options { hooks, interfaces: wanted, tc_mode, host_framing, mut settings, own, say } =
            options;
        settings.filter.netns = own_netns();
        settings.limit_interfaces = wanted.limit();
        settings.log = say.is_some();
        let mut ebpf = loader::load(&settings, &hooks)?;
        let (framing, why_host) = loader::choose_framing(&mut ebpf, &hooks, host_framing)?;
        let log = say.map(|say| ProgramLog::new(&mut ebpf, say)).transpose().map_err(|error| {
            let instead = "rebuild it and this binary";
            format!("cannot read the eBPF object ({error}): {instead}")
        })?;

        let events = RingBuf::try_from(take_map(&mut ebpf, "EVENTS")?).map_err(|error| {
            format!(
                "cannot map the ring buffer ({error}): raise the memory limit (ulimit -v), or lower \
                 HTTP_TRACE_RING_SIZE"
            )
        })?;
        let ring = Ring::new(events, map(&mut ebpf, "ASLEEP")?, settings.filter.netns);
        let clock = Clock::default();
        let senders = match take_map(&mut ebpf, "SENDERS")? {
            Map::Array(map) if settings.senders => {
                Some(Senders::start(&mut ebpf, map, clock.clone()))
            }
            _ => None,
        };
        let counters = Counters::new(map(&mut ebpf, "COUNTERS")?, clock.now_ns());
        let flows = Flows::new(take_map(&mut ebpf, "FLOWS")?, settings.flows).map_err(mismatch)?;
        let handed_back = HandedBack(map(&mut ebpf, "HANDED_BACK")?);
        let table = OwnMap(map(&mut ebpf, "OWN")?);
        own.set_table(Box::new(table)).map_err(|error| error.to_string())?;
        let limit = map(&mut ebpf, "INTERFACES")?;
        let interfaces = Interfaces::open()
            .map_err(|error| format!("cannot list interfaces over rtnetlink: {error}"))?;

        let mut probe = Probe {
            ebpf,
            hooks,
            framing,
            why_host,
            wanted,
            attached: Attached::new(tc_mode, framing),
            interfaces,
            follows: false,
            is_watching: false,
            traced: BTreeSet::new(),
            next_check_ns: 0,
            hidden: BTreeMap::new(),
            names: BTreeMap::new(),
            limit,
            ring,
            senders,
            log,
            counters,
            flows,
            begun: 0,
            is_quiet: true,
            handed_back,
            own,
            clock,
        };
        probe.attached.host(&mut probe.ebpf, &probe.hooks)?;
        let mut notices = Vec::new();
        probe.follow_interfaces(&mut notices);
        // A requested interface must work; if all interfaces are traced, one may fail with a notice. Later,
        // interfaces may come and go.
        let tolerant = probe.wanted.is_everything() && !probe.attached.indexes().is_empty();
        if !tolerant
            && let Some(at) = notices.iter().position(|n| matches!(n, Notice::Failed(_)))
            && let Notice::Failed(error) = notices.swap_remove(at)
        {
            return Err(error);
        }
        probe.ring.begin_ns = clock::boot_ns();
        Ok((probe, notices))
    }

    /// Passes on the available records, with wall-clock times, together with the hand-back map: a hand-back
    /// that waited for the last record would come too late while records arrive as fast as they are read.
    /// Returns the number of records.
    pub fn drain(&mut self, mut to: impl FnMut(Record<'_>, &mut HandedBack)) -> usize {
        self.clock.refresh();
        let (begun, handed_back) = (&mut self.begun, &mut self.handed_back);
        let n = self.ring.drain(&self.clock, |record| {
            *begun += usize::from(record.header.has(flag::STREAM_BEGINS));
            to(record, handed_back);
        });
        self.is_quiet &= n == 0;
        if self.begun >= self.flows.capacity / 16 {
            self.sweep();
        }
        n
    }

    /// Passes on log lines of the programs.
    pub fn hand_on_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.hand_on();
        }
    }

    /// Describes how the programs are attached and who frames.
    pub fn modes(&self) -> String {
        let framing = framing_in_words(self.framing, self.why_host.as_deref());
        let modes = self.attached.modes();
        let places = modes.iter().map(|mode| format!(", {mode}"));
        format!("{framing}{}", places.collect::<String>())
    }

    /// Capabilities that the rest of the run needs: with `hotplug` all those for attaching; without, those
    /// for reading the tables and detaching.
    pub fn needs(&self, hotplug: bool) -> CapabilitySet {
        // A packet socket already covers all interfaces.
        if hotplug && self.hooks.iter().any(|hook| *hook != Hook::SocketFilter) {
            return privileges::ATTACHING;
        }
        let mut needs = CapabilitySet::empty();
        // A clsact filter is not a link: deleting it needs a netlink request.
        needs.set(CapabilitySet::NET_ADMIN, self.attached.has_clsact());
        // Linux before 5.19, with kernel.unprivileged_bpf_disabled.
        let reads = privileges::without(|| self.flows.is_readable());
        needs.set(CapabilitySet::BPF, reads != Some(true));
        needs
    }

    /// Sleeps until the next [`Probe::drain`] is due. Does not use the runtime's timers, which are coarse:
    /// they wake two or three times in 100 ms, which is most of the cost of an idle agent.
    /// Returns whether interfaces have changed.
    pub fn sleep(&mut self) -> bool {
        let changes = self.is_watching.then(|| self.interfaces.as_fd());
        self.ring.sleep(changes)
    }

    /// Follows interfaces that were added, removed or renamed, without `hotplug` only those removed or renamed; `None`
    /// if none were. Never blocks.
    pub fn update_interfaces(&mut self, hotplug: bool) -> io::Result<Option<Vec<Notice>>> {
        let is_first = std::mem::replace(&mut self.follows, hotplug) != hotplug;
        let changed = self.interfaces.update();
        self.is_watching = changed.is_ok();
        if !changed? && !is_first {
            return Ok(None);
        }
        let mut notices = Vec::new();
        self.leave_interfaces(&mut notices);
        if hotplug {
            self.follow_interfaces(&mut notices);
        }
        Ok(Some(notices))
    }

    /// Checks, when due or when filters have changed, whether other programs hide packets from ours or have
    /// detached them, and restores our place. Returns losses; `last` forces the check and reports everything
    /// still open.
    pub fn check_hooks(&mut self, last: bool) -> Vec<Loss> {
        let now_ns = clock::boot_ns();
        // The caller limits this to a few times a second.
        if !std::mem::take(&mut self.interfaces.tc_changed) && now_ns < self.next_check_ns && !last
        {
            return Vec::new();
        }
        self.next_check_ns = now_ns + CHECK_EVERY_NS;
        // The kernel sends no notification of changes at XDP.
        let fresh = match self.attached.has_xdp().then(Interfaces::open).transpose() {
            Ok(fresh) => fresh,
            Err(_) => return Vec::new(),
        };
        let known = &fresh.as_ref().unwrap_or(&self.interfaces).known;
        let mut hidden = self.attached.keep(&mut self.ebpf, known, now_ns);
        if last {
            hidden.extend(self.attached.still_hidden(now_ns));
        }
        // Moving a program takes as long as verifying it.
        let until_ns = clock::boot_ns();
        let mut losses = Vec::new();
        for Hidden { why, detail, since_ns } in hidden {
            losses.push(Loss {
                count: 1,
                unit: LossUnit::Hooks,
                place: why,
                since_ns: self.clock.unix_ns(since_ns),
                until_ns: self.clock.unix_ns(until_ns),
                detail: Some(detail.as_str().into()),
            });
            if self.hidden.len() < MOST_HIDDEN || self.hidden.contains_key(&detail) {
                *self.hidden.entry(detail).or_default() += until_ns.saturating_sub(since_ns);
            }
        }
        losses
    }

    /// Deletes connections that need not be followed any longer.
    pub fn sweep(&mut self) {
        let now_boot_ns = clock::boot_ns();
        if self.is_quiet && !self.flows.is_pass_due(now_boot_ns) {
            return;
        }
        (self.begun, self.is_quiet) = (0, true);
        let count = |counter| self.counters.get(counter);
        let net = count(Counter::FlowsAdmitted).wrapping_sub(count(Counter::FlowsClosed));
        self.flows.sweep(now_boot_ns, net);
    }

    /// Indexes and names of all interfaces seen so far.
    pub fn interface_names(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(index, name)| (*index, &**name))
    }

    /// Ends the run at one point in time for all hooks, and detaches the programs. Earlier records in the
    /// ring can still be drained; later ones are dropped.
    pub fn detach(&mut self) {
        self.ring.end_ns = clock::boot_ns();
        self.attached = Attached::default();
    }

    pub fn traced_interfaces(&self) -> Vec<Arc<str>> {
        let sees_all = self.sees_all();
        let traced = self.interfaces.known.iter();
        traced
            .filter(|(index, i)| i.up && (sees_all || self.attached.has_interface(**index)))
            .filter(|(_, i)| self.wanted.contains(&i.name))
            .map(|(_, i)| i.name.clone())
            .collect()
    }

    /// Whether nothing is attached to interfaces: the other hooks see all of them.
    fn sees_all(&self) -> bool {
        !self.hooks.iter().any(|hook| matches!(hook, Hook::Tc | Hook::Xdp))
    }

    /// Names of the interfaces that are traced once they are up.
    pub fn down_interfaces(&self) -> Vec<Arc<str>> {
        let known = self.interfaces.known.values();
        known.filter(|i| !i.up && self.wanted.contains(&i.name)).map(|i| i.name.clone()).collect()
    }

    /// Detaches from interfaces that are gone or unwanted.
    fn leave_interfaces(&mut self, notices: &mut Vec<Notice>) {
        let mut before: BTreeSet<u32> = self.attached.indexes().into_iter().collect();
        before.extend(&self.traced);
        for index in before {
            let now = self.interfaces.known.get(&index).map(|i| &i.name);
            if !now.is_some_and(|name| self.wanted.contains(name)) {
                self.attached.forget(index);
                if self.traced.remove(&index)
                    && let Some(name) = self.names.get(&index)
                {
                    notices.push(Notice::Detached(name.clone(), now.cloned()));
                }
            }
        }
    }

    /// Attaches to new interfaces.
    fn follow_interfaces(&mut self, notices: &mut Vec<Notice>) {
        let (mut allowed, sees_all) = (Vec::new(), self.sees_all());
        for (&index, interface) in &self.interfaces.known {
            self.names.insert(index, interface.name.clone());
            if !self.wanted.contains(&interface.name) {
                continue;
            }
            allowed.push(index);
            if interface.up || self.follows {
                match self.attached.interface(&mut self.ebpf, &self.hooks, index, interface) {
                    Ok(true) => {}
                    // Said once it is up.
                    _ if !interface.up => {}
                    Ok(false) => {
                        let notice = Notice::Unreadable(interface.name.clone(), interface.link);
                        notices.push(notice);
                    }
                    Err(error) => notices.push(Notice::Failed(error)),
                }
            }
            let is_traced = sees_all || self.attached.has_interface(index);
            if interface.up && is_traced && self.traced.insert(index) {
                notices.push(Notice::Attached(interface.name.clone()));
                // Ours is among them if it was attached before the interface was up.
                let own = self.attached.xdp_program(index);
                let others: Vec<u32> =
                    interface.xdp.iter().copied().filter(|id| Some(*id) != own).collect();
                let others = tc::named(&others);
                if !others.is_empty() {
                    let notice = Notice::Before(interface.name.clone(), others.join(" and "));
                    notices.push(notice);
                }
            }
        }
        let stale: Vec<u32> =
            self.limit.keys().filter_map(Result::ok).filter(|i| !allowed.contains(i)).collect();
        for index in stale {
            let _ = self.limit.remove(&index);
        }
        for index in allowed {
            let _ = self.limit.insert(index, 1, 0);
        }
    }
}

fn framing_in_words(framing: Framing, why_host: Option<&str>) -> String {
    match (framing, why_host) {
        (Framing::Kernel, _) => "framing in the kernel".to_owned(),
        (Framing::Host, Some(why)) => format!("framing in the agent ({why})"),
        (Framing::Host, None) => "framing in the agent, as configured".to_owned(),
    }
}

/// The cookie of this process's network namespace; 0 if the kernel does not provide it.
fn netns_cookie() -> u64 {
    socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(io::Error::from)
        .and_then(sys::netns_cookie)
        .unwrap_or(0)
}

/// The id of this process's network namespace in flow keys.
fn own_netns() -> u32 {
    let cookie = netns_cookie();
    (cookie ^ (cookie >> 32)) as u32
}
