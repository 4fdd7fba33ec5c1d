//! The live edge: loads the programs, attaches them, reads their ring buffer and their counters.
//!
//! Knows kernels, interfaces and links, and nothing of HTTP: it hands records on as they came.
//!
//! # Layout
//! - [`loader`] puts the object into the kernel with its sizes and limits.
//! - [`attach`] hangs programs onto interfaces, sockets and cgroups, and takes them off.
//! - `tc` puts programs first at TC and says whether they still are; [`watch`] remembers what may have been
//!   hidden from them.
//! - [`interfaces`] tells which interfaces there are, as they come and go.
//! - [`ring`] drains records, [`clock`] dates them, [`counters`] sums up what the programs counted.
//! - [`senders`] reads who sends on sockets.
//! - [`log`] hands on what the programs say in words.
//! - [`flows`] keeps the kernel's tables tidy; `own_map` holds the agent's own sockets.
//! - [`trial`] tries a hook and finds what an earlier run left.
//! - [`test_run`] runs a program over frames without attaching it.
//! - `netlink` reads lists and changes over rtnetlink.
//! - `sys` holds the few system calls that nothing else wraps.
//!
//! [`Probe`] is all of it together.

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
pub mod test_run;
pub mod trial;
pub mod watch;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use http_trace_common::counter::Counter;
use http_trace_common::record::{Hook, Record, flag};
use http_trace_model::event::{Loss, LossUnit};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use attach::{AttachError, Attached, TcMode};
use clock::Clock;
use counters::Counters;
use flows::{Flows, HandedBack};
use interfaces::{Interface, Interfaces, Wanted};
use loader::{Framing, LoadError, Settings};
use log::ProgramLog;
use own_map::OwnMap;
use ring::Ring;
use senders::{NoSenders, Senders};
use watch::Hidden;

use crate::own_sockets::OwnSockets;
use crate::privileges::{self, CapabilitySet};

/// How often the hooks are looked at without a reason (ns). TCX tells of no change.
const CHECK_EVERY_NS: u64 = 2_000_000_000;
/// Places and reasons that are kept for the summary.
const MOST_HIDDEN: usize = 64;

/// What to trace, and with how much memory.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to look.
    pub hooks: Vec<Hook>,
    /// On which interfaces.
    pub interfaces: Wanted,
    /// How TC programs are attached.
    pub tc_mode: TcMode,
    /// Leaves the framing to the host even if the kernel can do it.
    pub host_framing: bool,
    /// Sizes and limits of the programs. The namespace is filled in by [`Probe::start`].
    pub settings: Settings,
    /// What is never traced.
    pub own: OwnSockets,
    /// Who hears what the programs say in words.
    pub say: Option<log::Say>,
}

/// Why tracing cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The programs are not in the kernel.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// They cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// Interfaces cannot be listed.
    #[error("interfaces cannot be listed over rtnetlink: {0}")]
    Netlink(io::Error),
    /// A socket of the agent's own would be traced.
    #[error(transparent)]
    Own(io::Error),
    /// A map of the object is not what this build expects.
    #[error("the eBPF object and this binary do not fit together ({0}): build both again")]
    Map(#[from] MapError),
    /// Nor is its log.
    #[error("what the eBPF object says cannot be read ({0}): build it and this binary again")]
    Log(#[from] aya_log::Error),
}

/// The running programs. Dropping it takes them out of the kernel.
#[derive(Debug)]
pub struct Probe {
    ebpf: Ebpf,
    hooks: Vec<Hook>,
    framing: Framing,
    /// Why the programs cannot frame.
    why_host: Option<String>,
    wanted: Wanted,
    attached: Attached,
    interfaces: Interfaces,
    /// When the hooks are to be looked at next (kernel time, ns).
    next_check_ns: u64,
    /// Where packets were hidden from a hook, and for how long (ns).
    hidden: BTreeMap<String, u64>,
    /// Names by index, also of interfaces that are gone: records may still name them.
    names: BTreeMap<u32, Arc<str>>,
    limit: HashMap<MapData, u32, u8>,
    ring: Ring,
    /// Who sends on sockets, if it is asked for.
    pub senders: Option<Result<Senders, NoSenders>>,
    log: Option<ProgramLog>,
    /// What the programs counted.
    pub counters: Counters,
    /// The table of connections in the kernel.
    pub flows: Flows,
    /// Connections that have begun since that was last looked at.
    begun: usize,
    /// Where framing is handed back.
    handed_back: HandedBack,
    /// The agent's own sockets.
    pub own: OwnSockets,
    /// The kernel's clock.
    pub clock: Clock,
}

/// Something that happened to an interface and that the person should be told.
#[derive(Debug)]
pub enum Notice {
    /// The programs hang on it now.
    Attached(Arc<str>),
    /// They do not any more.
    Detached(Arc<str>),
    /// They cannot be attached; tracing goes on elsewhere.
    Failed(AttachError),
    /// Another's program at its XDP hook may drop or redirect packets before they are seen.
    Before(Arc<str>, String),
    /// Its frames begin with something that the programs do not read.
    Unreadable(Arc<str>, interfaces::LinkLayer),
}

impl Probe {
    /// Loads and attaches everything that is there now.
    ///
    /// # Errors
    /// [`StartError`], in one line each. Interfaces that come, or fail, later are [`Notice`]s.
    pub fn start(options: Options) -> Result<(Self, Vec<Notice>), StartError> {
        let Options {
            hooks,
            interfaces: wanted,
            tc_mode,
            host_framing,
            mut settings,
            own,
            say,
        } = options;
        settings.filter.netns = own_netns();
        settings.cgroup_netns_helper = hooks.contains(&Hook::Cgroup)
            && is_helper_supported(ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_get_netns_cookie)
                .unwrap_or(false);
        settings.limit_interfaces = !wanted.is_everything();
        settings.log = say.is_some();
        let mut ebpf = loader::load(&settings, &hooks)?;
        let (framing, why_host) = loader::choose_framing(&mut ebpf, &hooks, host_framing)?;
        let log = say.map(|say| ProgramLog::new(&mut ebpf, say)).transpose()?;

        let events = RingBuf::try_from(take(&mut ebpf, "EVENTS")?)?;
        let asleep = Array::try_from(take(&mut ebpf, "ASLEEP")?)?;
        let ring = Ring::new(events, asleep, settings.filter.netns);
        let clock = Clock::new();
        let senders = match take(&mut ebpf, "SENDERS")? {
            Map::Array(map) if settings.senders => {
                Some(Senders::start(&mut ebpf, map, clock.clone()))
            }
            _ => None,
        };
        let counters = Counters::new(
            PerCpuArray::try_from(take(&mut ebpf, "COUNTERS")?)?,
            clock.now_ns(),
        );
        let flows = Flows::new(take(&mut ebpf, "FLOWS")?, settings.flows)?;
        let handed_back = HandedBack::new(HashMap::try_from(take(&mut ebpf, "HANDED_BACK")?)?);
        let table = OwnMap(HashMap::try_from(take(&mut ebpf, "OWN")?)?);
        own.set_table(Box::new(table)).map_err(StartError::Own)?;
        let limit = HashMap::try_from(take(&mut ebpf, "INTERFACES")?)?;
        let interfaces = Interfaces::open().map_err(StartError::Netlink)?;

        let mut probe = Probe {
            ebpf,
            hooks,
            framing,
            why_host,
            wanted,
            attached: Attached::new(tc_mode, framing),
            interfaces,
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
            handed_back,
            own,
            clock,
        };
        probe.attached.host(&mut probe.ebpf, &probe.hooks)?;
        let mut notices = Vec::new();
        probe.follow_interfaces(&mut notices);
        // An interface that was asked for must be there; of "every interface" one odd one may fail,
        // and is told of. Later, interfaces come and go as they like.
        let tolerant = probe.wanted.is_everything() && !probe.attached.indexes().is_empty();
        if !tolerant
            && let Some(at) = notices.iter().position(|n| matches!(n, Notice::Failed(_)))
            && let Notice::Failed(error) = notices.swap_remove(at)
        {
            return Err(error.into());
        }
        Ok((probe, notices))
    }

    /// Hands on the records that are there, in wall time, with where framing is handed back: while
    /// records come as fast as they are read, what waits for the last of them comes too late. How
    /// many that were.
    pub fn drain(&mut self, mut to: impl FnMut(Record<'_>, &mut HandedBack)) -> usize {
        self.clock.refresh();
        let (begun, handed_back) = (&mut self.begun, &mut self.handed_back);
        let n = self.ring.drain(&self.clock, |record| {
            *begun += usize::from(record.header.has(flag::STREAM_BEGINS));
            to(record, handed_back);
        });
        if self.begun >= self.flows.capacity() / 16 {
            self.sweep();
        }
        n
    }

    /// Hands on what the programs have said in words.
    pub fn hand_on_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.hand_on();
        }
    }

    /// Who follows the framing of HTTP/1.x.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// What this kernel lets the programs do, in words.
    pub fn modes(&self) -> String {
        let framing = framing_in_words(self.framing, self.why_host.as_deref());
        let modes = self.attached.modes();
        let places = modes.iter().map(|mode| format!(", {mode}"));
        format!("{framing}{}", places.collect::<String>())
    }

    /// What it takes to go on: with `hotplug`, all that attaching takes; without, what reading the tables
    /// and leaving take here.
    pub fn needs(&self, hotplug: bool) -> CapabilitySet {
        // A packet socket is of all interfaces.
        if hotplug && self.hooks.iter().any(|hook| *hook != Hook::SocketFilter) {
            return privileges::ATTACHING;
        }
        let mut needs = CapabilitySet::empty();
        // A filter is no link: it is taken off by a request.
        needs.set(CapabilitySet::NET_ADMIN, self.attached.has_clsact());
        // Linux before 5.19, with kernel.unprivileged_bpf_disabled.
        let reads = privileges::without(|| self.flows.is_readable());
        needs.set(CapabilitySet::BPF, reads != Some(true));
        needs
    }

    /// Sleeps until the next [`Probe::drain`] is due, without the runtime, whose timers are coarse:
    /// in a sleep of 100 ms it wakes two or three times, which is most of what an idle agent costs.
    pub fn sleep(&mut self) {
        self.ring.sleep();
    }

    /// Takes note of interfaces that came, went, or were renamed; `None` when none did. Never waits.
    ///
    /// # Errors
    /// When netlink fails.
    pub fn update_interfaces(&mut self) -> io::Result<Option<Vec<Notice>>> {
        if !self.interfaces.update()? {
            return Ok(None);
        }
        let mut notices = Vec::new();
        self.follow_interfaces(&mut notices);
        Ok(Some(notices))
    }

    /// Looks, when it is due or filters have changed, whether other programs hide packets from ours,
    /// or have taken them off, and puts ours first again. What was hidden, as losses; `last` says that
    /// it is due, and that all must be told.
    pub fn check_hooks(&mut self, last: bool) -> Vec<Loss> {
        let now_ns = clock::boot_ns();
        // At most once per call of this, which comes a few times a second.
        if !self.interfaces.take_tc_changed() && now_ns < self.next_check_ns && !last {
            return Vec::new();
        }
        self.next_check_ns = now_ns + CHECK_EVERY_NS;
        // The kernel tells of no change at XDP.
        let fresh = match self.attached.has_xdp().then(Interfaces::open).transpose() {
            Ok(fresh) => fresh,
            Err(_) => return Vec::new(),
        };
        let known = fresh.as_ref().unwrap_or(&self.interfaces).known();
        let mut hidden = self.attached.keep(&mut self.ebpf, known, now_ns);
        if last {
            hidden.extend(self.attached.still_hidden(now_ns));
        }
        // Moving a program takes as long as verifying it.
        let until_ns = clock::boot_ns();
        let mut losses = Vec::new();
        for Hidden {
            why,
            detail,
            since_ns,
        } in hidden
        {
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

    /// Deletes connections that the kernel no longer needs to follow.
    pub fn sweep(&mut self) {
        self.begun = 0;
        let count = |counter| self.counters.get(counter);
        let net = count(Counter::FlowsAdmitted).wrapping_sub(count(Counter::FlowsClosed));
        self.flows.sweep(clock::boot_ns(), net);
    }

    /// Where packets may have been hidden from a hook since the start, and for how long (ns).
    pub const fn hidden(&self) -> &BTreeMap<String, u64> {
        &self.hidden
    }

    /// The name of an interface, also of one that is gone.
    pub fn interface_name(&self, index: u32) -> Option<&Arc<str>> {
        self.names.get(&index)
    }

    /// Indexes and names of all interfaces met so far.
    pub fn interface_names(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(index, name)| (*index, &**name))
    }

    /// Ends the run in all places at one moment, and takes the programs off. What is in the ring of
    /// the time before can still be drained; what is counted from here on belongs to no run.
    pub fn detach(&mut self) {
        self.ring.end_at(clock::boot_ns());
        self.attached = Attached::default();
    }

    /// Whether the last [`Probe::drain`] may have left records in the ring.
    pub const fn has_more(&self) -> bool {
        self.ring.has_more()
    }

    /// Names of the interfaces that are traced.
    pub fn traced_interfaces(&self) -> Vec<Arc<str>> {
        // At the cgroup alone nothing is attached to an interface.
        let everywhere = self.attached.indexes().is_empty();
        let traced = self.interfaces.known().iter();
        traced
            .filter(|(index, i)| i.up && (everywhere || self.attached.has_interface(**index)))
            .filter(|(_, i)| self.wanted.contains(&i.name))
            .map(|(_, i)| i.name.clone())
            .collect()
    }

    /// Brings what is attached in line with the interfaces there are.
    fn follow_interfaces(&mut self, notices: &mut Vec<Notice>) {
        for index in self.attached.indexes() {
            let keep = self
                .interfaces
                .known()
                .get(&index)
                .is_some_and(|i| self.wanted.contains(&i.name));
            if !keep {
                self.attached.forget(index);
                if let Some(name) = self.names.get(&index) {
                    notices.push(Notice::Detached(name.clone()));
                }
            }
        }
        let mut allowed = Vec::new();
        for (&index, interface) in self.interfaces.known() {
            self.names.insert(index, interface.name.clone());
            if !self.wanted.contains(&interface.name) {
                continue;
            }
            allowed.push(index);
            if !interface.up || self.attached.has_interface(index) {
                continue;
            }
            attach_one(
                &mut self.attached,
                &mut self.ebpf,
                &self.hooks,
                index,
                interface,
                notices,
            );
        }
        let stale: Vec<u32> = self
            .limit
            .keys()
            .filter_map(Result::ok)
            .filter(|i| !allowed.contains(i))
            .collect();
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
        (Framing::Host, None) => "framing in the agent, as set".to_owned(),
    }
}

fn attach_one(
    attached: &mut Attached,
    ebpf: &mut Ebpf,
    hooks: &[Hook],
    index: u32,
    interface: &Interface,
    notices: &mut Vec<Notice>,
) {
    match attached.interface(ebpf, hooks, index, interface) {
        Ok(true) if attached.has_interface(index) => {
            notices.push(Notice::Attached(interface.name.clone()));
            // As it was before ours was attached, if ours is.
            let others = tc::named(&interface.xdp);
            if !others.is_empty() {
                let notice = Notice::Before(interface.name.clone(), others.join(" and "));
                notices.push(notice);
            }
        }
        Ok(true) => {}
        Ok(false) => {
            notices.push(Notice::Unreadable(interface.name.clone(), interface.link));
        }
        Err(error) => notices.push(Notice::Failed(error)),
    }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, MapError> {
    ebpf.take_map(name).ok_or_else(|| MapError::InvalidName {
        name: name.to_owned(),
    })
}

/// The cookie of this process's network namespace; 0 when the kernel does not tell.
fn netns_cookie() -> u64 {
    socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(io::Error::from)
    .and_then(sys::netns_cookie)
    .unwrap_or(0)
}

/// What stands for this process's network namespace in flow keys.
fn own_netns() -> u32 {
    let cookie = netns_cookie();
    (cookie ^ (cookie >> 32)) as u32
}
