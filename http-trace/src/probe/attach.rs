//! Attaches the programs to interfaces, a packet socket and the root cgroup, and detaches them.
//!
//! All attachments are held by links or file descriptors of this process, so they end with it. The exception
//! is clsact before Linux 6.6: after SIGKILL the filters remain, with our names and a fixed handle, and the
//! next start replaces them. A clsact qdisc is never deleted, because somebody else may have attached filters
//! to it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::iter::successors;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, OwnedFd};

use aya::Ebpf;
use aya::programs::cgroup_skb::{CgroupSkb, CgroupSkbAttachType, CgroupSkbLink};
use aya::programs::links::CgroupAttachMode;
use aya::programs::xdp::{Xdp, XdpLink, XdpMode};
use aya::programs::{ProgramError, SocketFilter, SocketFilterError};
use http_trace_common::record::Hook;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use super::clock;
use super::interfaces::{Interface, LinkLayer};
use super::loader::{Framing, io_errors, is_loaded, load_program, load_programs, program};
use super::netlink::ETH_P_ALL;
use super::sys::{HookType, programs_at};
use super::tc::{self, Placed, Side, Standing};
use super::watch::{Hidden, Watch};
use crate::config::TcMode;
use crate::enrich::cgroup;

/// Minimum time between two moves of a program (ns), in case another program wants the same place.
const MOVE_EVERY_NS: u64 = 1_000_000_000;
const XDP_PROGRAM: &str = "http_trace_xdp";
/// The kernel does not attach the programs of a hook to a place, an interface or cgroup; `instead` is a remedy.
fn cannot_attach(hook: &str, place: &str, why: &str, instead: &str) -> String {
    format!("cannot attach {hook} to {place}: {why}; {instead}")
}

/// The error with all of its sources, which aya's errors do not print.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in successors(error.source(), |&error| error.source()) {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
    }
    text
}

/// All attachments. Dropping it detaches everything.
#[derive(Debug, Default)]
pub struct Attached {
    tc_mode: TcMode,
    framing: Framing,
    /// By interface index.
    interfaces: BTreeMap<u32, OnInterface>,
    packet_socket: Option<OwnedFd>,
    cgroup: Option<AtCgroup>,
}

#[derive(Debug, Default)]
struct OnInterface {
    tc: Vec<(Placed, Watch)>,
    xdp: Option<AtXdp>,
}

#[derive(Debug)]
struct AtXdp {
    in_driver: bool,
    program: u32,
    link: XdpLink,
    watch: Watch,
}

/// Both attachments at the root cgroup.
#[derive(Debug)]
struct AtCgroup {
    folder: File,
    links: [(HookType, u32, CgroupSkbLink); 2],
    watch: Watch,
}

impl Attached {
    /// Nothing attached yet.
    pub fn new(tc_mode: TcMode, framing: Framing) -> Self {
        Attached { tc_mode, framing, ..Attached::default() }
    }

    /// The kinds of attachment in use.
    pub fn modes(&self) -> Vec<&'static str> {
        let on = || self.interfaces.values();
        let tc = || on().flat_map(|on| &on.tc);
        let xdp = || on().filter_map(|on| on.xdp.as_ref());
        [
            (tc().any(|(placed, _)| placed.is_tcx()), "TCX"),
            (self.has_clsact(), "clsact"),
            (xdp().any(|xdp| xdp.in_driver), "XDP in the driver"),
            (xdp().any(|xdp| !xdp.in_driver), "generic XDP"),
            (self.packet_socket.is_some(), "a packet socket"),
            (self.cgroup.is_some(), "the root cgroup"),
        ]
        .into_iter()
        .filter_map(|(is, name)| is.then_some(name))
        .collect()
    }

    /// Whether a program is attached as a clsact filter.
    pub fn has_clsact(&self) -> bool {
        let mut tc = self.interfaces.values().flat_map(|on| &on.tc);
        tc.any(|(placed, _)| !placed.is_tcx())
    }

    pub fn has_interface(&self, index: u32) -> bool {
        self.interfaces.contains_key(&index)
    }

    /// The id of our program at XDP of this interface.
    pub fn xdp_program(&self, index: u32) -> Option<u32> {
        Some(self.interfaces.get(&index)?.xdp.as_ref()?.program)
    }

    pub fn has_xdp(&self) -> bool {
        self.interfaces.values().any(|on| on.xdp.is_some())
    }

    pub fn indexes(&self) -> Vec<u32> {
        self.interfaces.keys().copied().collect()
    }

    /// Attaches the host-wide hooks: packet socket and root cgroup.
    pub fn host(&mut self, ebpf: &mut Ebpf, hooks: &[Hook]) -> Result<(), String> {
        if hooks.contains(&Hook::SocketFilter) {
            self.packet_socket = Some(packet_socket(ebpf, self.framing)?);
        }
        if hooks.contains(&Hook::Cgroup) {
            self.cgroup = Some(cgroup(ebpf, self.framing)?);
        }
        Ok(())
    }

    /// Attaches the hooks of an interface, unless already attached; to one that is down only if that takes no
    /// verification. `false` if the programs cannot read its frames. Where XDP takes no program, TC ingress replaces
    /// it: below a bridge with one, and on devices without Ethernet frames, which it cannot read.
    ///
    /// # Errors
    /// A message; nothing stays attached then.
    pub fn interface(
        &mut self,
        ebpf: &mut Ebpf,
        hooks: &[Hook],
        index: u32,
        interface: &Interface,
    ) -> Result<bool, String> {
        let (tc, xdp) = (hooks.contains(&Hook::Tc), hooks.contains(&Hook::Xdp));
        if !tc && !xdp || self.has_interface(index) {
            return Ok(true);
        }
        let (ingress, egress) = match interface.link {
            LinkLayer::Ethernet => ("http_trace_in", "http_trace_out"),
            LinkLayer::Ip => ("http_trace_ip_in", "http_trace_ipout"),
            LinkLayer::Other(_) => return Ok(false),
        };
        let (ingress, egress) = (self.framing.program(ingress), self.framing.program(egress));
        // Load all before attaching any: verification takes as long as a thousand messages, of which the host
        // would see only one direction.
        let xdp = xdp && interface.link == LinkLayer::Ethernet;
        let mut needed = vec![egress];
        needed.extend(xdp.then_some(XDP_PROGRAM));
        needed.extend((tc || !xdp).then_some(ingress));
        if !interface.up && !needed.iter().all(|name| is_loaded(ebpf, name)) {
            return Ok(true);
        }
        load_programs(ebpf, &needed)?;
        let now_ns = clock::boot_ns();
        let mut on = OnInterface::default();
        if xdp {
            on.xdp = attach_xdp(ebpf, index, interface)?;
            if on.xdp.is_none() {
                load_programs(ebpf, &[ingress])?;
            }
        }
        let both = [(Side::Ingress, ingress), (Side::Egress, egress)];
        for (side, name) in both.into_iter().skip(usize::from(on.xdp.is_some() && !tc)) {
            let placed = self.place(ebpf, name, index, interface, side)?;
            on.tc.push((placed, Watch::new(now_ns)));
        }
        self.interfaces.insert(index, on);
        Ok(true)
    }

    /// Detaches the programs of an interface, or forgets an interface that is gone.
    pub fn forget(&mut self, index: u32) {
        self.interfaces.remove(&index);
    }

    fn place(
        &self,
        ebpf: &mut Ebpf,
        name: &'static str,
        index: u32,
        interface: &Interface,
        side: Side,
    ) -> Result<Placed, String> {
        let refused = |error: ProgramError| {
            let instead = "is the interface still there? --exclude-interface leaves it out";
            cannot_attach("tc", &interface.name, &causes(&error), instead)
        };
        let tcx = self.tc_mode == TcMode::Auto && tc::has_tcx();
        if !tcx && tc::has_left(index, side).unwrap_or(true) {
            tc::remove_left(&interface.name, side).map_err(|error| refused(error.into()))?;
        }
        tc::place(ebpf, name, (index, &interface.name), side, tcx).map_err(refused)
    }

    /// Ends all reported periods that are still open at the end of the run.
    pub fn still_hidden(&mut self, now_ns: u64) -> Vec<Hidden> {
        let on = self.interfaces.values_mut();
        let watches = on.flat_map(|on| {
            let tc = on.tc.iter_mut().map(|(_, watch)| watch);
            tc.chain(on.xdp.as_mut().map(|xdp| &mut xdp.watch))
        });
        let all = watches.chain(self.cgroup.as_mut().map(|at| &mut at.watch));
        all.filter_map(|watch| watch.end(now_ns)).collect()
    }

    /// Checks that each program still sees all packets, and re-attaches or moves it if not. Returns the
    /// periods in which packets may have been hidden from it.
    pub fn keep(
        &mut self,
        ebpf: &mut Ebpf,
        known: &BTreeMap<u32, Interface>,
        now_ns: u64,
    ) -> Vec<Hidden> {
        let mut hidden = Vec::new();
        // Check all before moving any: a move takes as long as verification, and changes could be missed
        // meanwhile.
        let of_tc = self.interfaces.values_mut().flat_map(|on| &mut on.tc);
        let standings: Vec<_> = of_tc.map(|(placed, _)| placed.standing().ok()).collect();
        let mut standings = standings.into_iter();
        for (&index, on) in &mut self.interfaces {
            let of_interface = standings.by_ref().take(on.tc.len());
            let Some(interface) = known.get(&index) else {
                of_interface.for_each(drop);
                continue;
            };
            for ((placed, watch), standing) in on.tc.iter_mut().zip(of_interface) {
                // The interface is going away, which is handled elsewhere.
                if let Some(standing) = standing {
                    hidden.extend(keep_tc(ebpf, placed, watch, standing, interface, now_ns));
                }
            }
            if let Some(xdp) = &mut on.xdp {
                hidden.extend(keep_xdp(ebpf, xdp, index, interface, now_ns));
            }
        }
        if let Some(at) = &mut self.cgroup {
            hidden.extend(keep_cgroup(ebpf, at, self.framing, now_ns));
        }
        hidden
    }
}

fn keep_tc(
    ebpf: &mut Ebpf,
    placed: &mut Placed,
    watch: &mut Watch,
    standing: Standing,
    interface: &Interface,
    now_ns: u64,
) -> Option<Hidden> {
    let place = format!("tc {} of {}", placed.side.name(), interface.name);
    let before = match standing {
        Standing::First => return watch.is_good(now_ns),
        Standing::FirstAgain => {
            let by = "programs that were removed since may have run before http-trace";
            return watch.report(now_ns, "shadowed", format!("{place}: {by}"), false);
        }
        Standing::Behind(before) => before,
        Standing::Gone => Vec::new(),
    };
    let (why, by) = match before.as_slice() {
        [] => ("detached", "http-trace was detached".to_owned()),
        names => ("shadowed", format!("{} before http-trace", run(names))),
    };
    let gave_up = !before.is_empty() && watch.behind == before;
    if !gave_up && now_ns.saturating_sub(watch.moved_ns) >= MOVE_EVERY_NS {
        watch.moved_ns = now_ns;
        let moved = placed.move_first(ebpf, &interface.name);
        let stands = moved.is_ok().then(|| placed.standing().ok()).flatten();
        if stands == Some(Standing::First) {
            let detail = format!("{place}: {by}; http-trace is first again");
            return watch.report(now_ns, why, detail, false);
        }
        watch.behind = before;
    }
    watch.report(now_ns, why, format!("{place}: {by}"), true)
}

/// Formats `program a (id 3) runs`, `program a (id 3) and filter b (…) run`.
fn run(names: &[String]) -> String {
    let verb = if names.len() == 1 { "runs" } else { "run" };
    format!("{} {verb}", names.join(" and "))
}

fn keep_xdp(
    ebpf: &mut Ebpf,
    at: &mut AtXdp,
    index: u32,
    interface: &Interface,
    now_ns: u64,
) -> Option<Hidden> {
    // As last reported by netlink: if the link was detached there is no program, or another one.
    if interface.xdp.contains(&at.program) {
        return at.watch.is_good(now_ns);
    }
    let detail = format!("xdp of {}: http-trace was detached", interface.name);
    if now_ns.saturating_sub(at.watch.moved_ns) < MOVE_EVERY_NS {
        return at.watch.report(now_ns, "detached", detail, true);
    }
    at.watch.moved_ns = now_ns;
    let (detail, goes_on) = match attach_xdp(ebpf, index, interface) {
        Ok(Some(new)) => {
            (at.program, at.link) = (new.program, new.link);
            (format!("{detail}; re-attached"), false)
        }
        Ok(None) => (format!("{detail}: a device above it has an XDP program"), true),
        Err(error) => (format!("{detail}: {error}"), true),
    };
    at.watch.report(now_ns, "detached", detail, goes_on)
}

fn keep_cgroup(
    ebpf: &mut Ebpf,
    at: &mut AtCgroup,
    framing: Framing,
    now_ns: u64,
) -> Option<Hidden> {
    let folder = at.folder.as_raw_fd() as u32;
    let is_there = |(hook, program, _): &(HookType, u32, CgroupSkbLink)| {
        programs_at(folder, *hook).is_ok_and(|all| all.ids.contains(program))
    };
    if at.links.iter().all(is_there) {
        return at.watch.is_good(now_ns);
    }
    let detail = "the root cgroup: http-trace was detached";
    let (detail, goes_on) = match cgroup(ebpf, framing) {
        Ok(new) => {
            at.links = new.links;
            (format!("{detail}; re-attached"), false)
        }
        Err(error) => (format!("{detail}: {error}"), true),
    };
    at.watch.report(now_ns, "detached", detail, goes_on)
}

/// Attaches in driver mode if supported, otherwise in generic mode. `None` if a device above it, such as its bridge,
/// has a program: then the kernel accepts none below it.
fn attach_xdp(ebpf: &mut Ebpf, index: u32, interface: &Interface) -> Result<Option<AtXdp>, String> {
    load_program(ebpf, XDP_PROGRAM)?;
    let refused = |error: ProgramError| {
        let instead = "another XDP program may hold it (`ip link` shows it); use --hook tc";
        cannot_attach("xdp", &interface.name, &causes(&error), instead)
    };
    let program: &mut Xdp = program(ebpf, XDP_PROGRAM).map_err(refused)?;
    let (id, in_driver) = match program.attach_to_if_index(index, XdpMode::Driver) {
        Ok(id) => (id, true),
        Err(in_driver) => match program.attach_to_if_index(index, XdpMode::Skb) {
            Ok(id) => (id, false),
            // A program at this device would be in one of the two modes.
            Err(generic) if exists(&in_driver) && exists(&generic) => return Ok(None),
            Err(generic) => return Err(refused(generic)),
        },
    };
    Ok(Some(AtXdp {
        in_driver,
        program: program.info().map_err(refused)?.id(),
        link: program.take_link(id).map_err(refused)?,
        watch: Watch::new(clock::boot_ns()),
    }))
}

/// Whether this is EEXIST.
fn exists(error: &ProgramError) -> bool {
    io_errors(error).any(|error| error.raw_os_error() == Some(libc::EEXIST))
}

/// A packet socket on all interfaces whose filter inspects packets and queues none. With SOCK_DGRAM, packets
/// start at the IP header on any device.
fn packet_socket(ebpf: &mut Ebpf, framing: Framing) -> Result<OwnedFd, String> {
    let name = framing.program("http_trace_sock");
    load_program(ebpf, name)?;
    let cannot =
        |why: &str, instead| cannot_attach("socket-filter", "a packet socket", why, instead);
    let refused = |error: &dyn Error| cannot(&causes(error), "it needs CAP_NET_RAW");
    // Without a protocol the socket receives nothing until its filter is attached.
    let socket = |protocol| {
        socket_with(AddressFamily::PACKET, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)
    };
    let program: &mut SocketFilter = program(ebpf, name).map_err(|error| refused(&error))?;
    let all = NonZeroU32::new(u32::from(ETH_P_ALL.to_be())).map(Protocol::from_raw);
    let socket = socket(all).map_err(|error| refused(&error))?;
    match program.attach(&socket) {
        Ok(_) => Ok(socket),
        Err(ProgramError::SocketFilterError(SocketFilterError::SetsockoptError {
            io_error,
            ..
        })) if io_error.raw_os_error() == Some(libc::ENOMEM) => Err(cannot(
            "the program exceeds the memory limit of a socket (net.core.optmem_max)",
            "run `sysctl -w net.core.optmem_max=262144` (on old kernels it is 20480), or use \
             --hook tc",
        )),
        Err(error) => Err(refused(&error)),
    }
}

/// Attaches both directions to the root cgroup, which contains every socket.
fn cgroup(ebpf: &mut Ebpf, framing: Framing) -> Result<AtCgroup, String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let root = cgroup::mount(&mounts).ok_or_else(|| {
        "--hook cgroup needs a mounted cgroup v2 hierarchy and /proc/mounts has none: run \
             `mkdir -p /run/cgroup2 && mount -t cgroup2 none /run/cgroup2`, or use --hook tc"
            .to_owned()
    })?;
    let refused = |error: &dyn Error| {
        let instead = "another program may hold it exclusively (`bpftool cgroup tree` shows it); \
                       use --hook tc";
        cannot_attach("cgroup", &root.display().to_string(), &causes(error), instead)
    };
    let folder = File::open(&root).map_err(|error| refused(&error))?;
    let mut one = |name, place, hook| {
        let name = framing.program(name);
        load_program(ebpf, name)?;
        let program: &mut CgroupSkb = program(ebpf, name).map_err(|error| refused(&error))?;
        // Links allow other programs by default; requesting that explicitly returns EINVAL.
        let link = program
            .attach(&folder, place, CgroupAttachMode::Single)
            .and_then(|id| program.take_link(id))
            .map_err(|error| refused(&error))?;
        let id = program.info().map_err(|error| refused(&error))?.id();
        Ok::<_, String>((hook, id, link))
    };
    Ok(AtCgroup {
        links: [
            one("http_trace_cg_in", CgroupSkbAttachType::Ingress, HookType::CgroupIngress)?,
            one("http_trace_cgout", CgroupSkbAttachType::Egress, HookType::CgroupEgress)?,
        ],
        watch: Watch::new(clock::boot_ns()),
        folder,
    })
}
