//! Hangs the programs onto interfaces, a packet socket and the root cgroup, and takes them off.
//!
//! Everything is held by links or descriptors of this process, so that its death detaches it. The
//! exception is clsact below Linux 6.6: there the filters stay after SIGKILL, under our names and a
//! fixed handle, and the next start replaces them. A clsact qdisc is never deleted: another's
//! filters may hang there by then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use aya::Ebpf;
use aya::programs::cgroup_skb::{CgroupSkb, CgroupSkbAttachType, CgroupSkbLink};
use aya::programs::links::CgroupAttachMode;
use aya::programs::tc::{
    NlOptions, SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError,
    TcHandle, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::xdp::{Xdp, XdpLink, XdpMode};
use aya::programs::{LinkOrder, ProgramError, SocketFilter, SocketFilterError};
use aya::util::KernelVersion;
use http_trace_common::record::Hook;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use super::interfaces::{Interface, LinkLayer};
use super::loader::{Framing, LoadError, load_program, load_programs, programs_of};

/// Handle of our filters at clsact.
const CLSACT_HANDLE: TcHandle = TcHandle::new(0, 0x6874);
/// Priority of our filters at clsact: before those that were given none (49152).
const CLSACT_PRIORITY: u16 = 1;
/// The program at XDP.
const XDP_PROGRAM: &str = "http_trace_xdp";
/// ETH_P_ALL (linux/if_ether.h).
const ETH_P_ALL: u16 = 3;

/// Why a program does not hang where it should. Each names the place and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It is not in the kernel.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel refuses it there.
    #[error("{hook} cannot be attached to {place}: {}; {instead}", causes(source.as_ref()))]
    Refused {
        /// The hook as on the command line.
        hook: &'static str,
        /// The interface, or the cgroup.
        place: String,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
        /// What to do.
        instead: &'static str,
    },
    /// There is no cgroup v2 hierarchy.
    #[error(
        "--hook cgroup needs a mounted cgroup v2 hierarchy and /proc/mounts has none: run `mount -t \
         cgroup2 none /sys/fs/cgroup/unified` (or any other folder), or use --hook tc"
    )]
    NoCgroup2,
}

/// What the kernel said, with the reasons below it, which the errors of aya keep to themselves.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        below = cause.source();
    }
    text
}

/// How TC programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TcMode {
    /// TCX from Linux 6.6, clsact below.
    #[default]
    Auto,
    /// clsact on any kernel.
    Clsact,
}

/// What hangs where. Dropping it takes everything off.
#[derive(Debug, Default)]
pub struct Attached {
    tc_mode: TcMode,
    framing: Framing,
    /// By interface index.
    interfaces: BTreeMap<u32, OnInterface>,
    packet_socket: Option<OwnedFd>,
    cgroup: Vec<CgroupSkbLink>,
}

/// Links on one interface.
#[derive(Debug, Default)]
struct OnInterface {
    tc: Vec<SchedClassifierLink>,
    xdp: Option<XdpLink>,
}

impl Attached {
    /// Nothing yet.
    pub fn new(tc_mode: TcMode, framing: Framing) -> Self {
        Attached {
            tc_mode,
            framing,
            ..Attached::default()
        }
    }

    /// Whether anything hangs on an interface.
    pub fn has_interface(&self, index: u32) -> bool {
        self.interfaces.contains_key(&index)
    }

    /// Indexes of interfaces on which something hangs.
    pub fn indexes(&self) -> Vec<u32> {
        self.interfaces.keys().copied().collect()
    }

    /// Attaches the hooks that are not of an interface: the packet socket, the root cgroup.
    ///
    /// # Errors
    /// [`AttachError`]
    pub fn host(&mut self, ebpf: &mut Ebpf, hooks: &[Hook]) -> Result<(), AttachError> {
        if hooks.contains(&Hook::SocketFilter) {
            self.packet_socket = Some(packet_socket(ebpf, self.framing)?);
        }
        if hooks.contains(&Hook::Cgroup) {
            self.cgroup = cgroup(ebpf, self.framing)?;
        }
        Ok(())
    }

    /// Attaches the hooks of an interface, unless they are. `false` when its frames begin with
    /// something that the programs do not read.
    ///
    /// # Errors
    /// [`AttachError`]; nothing stays attached then.
    pub fn interface(
        &mut self,
        ebpf: &mut Ebpf,
        hooks: &[Hook],
        index: u32,
        interface: &Interface,
    ) -> Result<bool, AttachError> {
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
        // Before either is attached: the verifier takes as long as a thousand messages may, of which
        // the host would hear one side.
        // XDP reads Ethernet frames only; elsewhere TC ingress takes its part.
        let xdp = xdp && interface.link == LinkLayer::Ethernet;
        let mut needed = vec![egress];
        needed.extend(xdp.then_some(XDP_PROGRAM));
        needed.extend((tc || !xdp).then_some(ingress));
        load_programs(ebpf, &needed)?;
        let mut on = OnInterface::default();
        if xdp {
            on.xdp = Some(attach_xdp(ebpf, index, interface)?);
        }
        if tc || !xdp {
            on.tc
                .push(self.attach_tc(ebpf, ingress, TcAttachType::Ingress, interface)?);
        }
        on.tc
            .push(self.attach_tc(ebpf, egress, TcAttachType::Egress, interface)?);
        self.interfaces.insert(index, on);
        Ok(true)
    }

    /// Takes the programs off an interface, or forgets one that is gone.
    pub fn forget(&mut self, index: u32) {
        self.interfaces.remove(&index);
    }

    fn attach_tc(
        &self,
        ebpf: &mut Ebpf,
        name: &str,
        place: TcAttachType,
        interface: &Interface,
    ) -> Result<SchedClassifierLink, AttachError> {
        load_program(ebpf, name)?;
        let refused = |source: ProgramError| AttachError::Refused {
            hook: "tc",
            place: interface.name.to_string(),
            source: source.into(),
            instead: "is the interface still there? --exclude-interface leaves it out",
        };
        let program: &mut SchedClassifier = ebpf
            .program_mut(name)
            .ok_or(LoadError::NoObject)?
            .try_into()
            .map_err(refused)?;
        let tcx = self.tc_mode == TcMode::Auto && has_tcx();
        let options = if tcx {
            // Next to the wire on both sides: what another program drops on its way in was there,
            // what it drops on its way out was not.
            TcAttachOptions::TcxOrder(match place {
                TcAttachType::Ingress => LinkOrder::first(),
                _ => LinkOrder::last(),
            })
        } else {
            // An error says that there is one already; attaching tells whether it is of use.
            let _ = qdisc_add_clsact(&interface.name);
            remove_left(&interface.name, place).map_err(|error| refused(error.into()))?;
            TcAttachOptions::Netlink(NlOptions {
                priority: CLSACT_PRIORITY,
                handle: CLSACT_HANDLE,
                classid: None,
            })
        };
        let id = program
            .attach_with_options(&interface.name, place, options)
            .map_err(refused)?;
        program.take_link(id).map_err(refused)
    }
}

/// Takes off what an agent that was killed left at clsact, whichever of our programs it was.
fn remove_left(interface: &str, place: TcAttachType) -> Result<(), TcError> {
    let names = programs_of(Hook::Tc);
    let all = [Framing::Kernel, Framing::Host]
        .map(|framing| names.iter().map(move |n| framing.program(n)));
    for name in all.into_iter().flatten() {
        match qdisc_detach_program(interface, place, name) {
            // An I/O error says that there is none.
            Ok(()) | Err(TcError::IoError(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// TCX came with Linux 6.6.
fn has_tcx() -> bool {
    KernelVersion::current().is_ok_and(|running| running >= KernelVersion::new(6, 6, 0))
}

/// In the driver where it can, otherwise in the stack's generic hook.
fn attach_xdp(ebpf: &mut Ebpf, index: u32, interface: &Interface) -> Result<XdpLink, AttachError> {
    load_program(ebpf, XDP_PROGRAM)?;
    let refused = |source: ProgramError| AttachError::Refused {
        hook: "xdp",
        place: interface.name.to_string(),
        source: source.into(),
        instead: "another XDP program may hold it (`ip link` shows it); use --hook tc",
    };
    let program: &mut Xdp = ebpf
        .program_mut(XDP_PROGRAM)
        .ok_or(LoadError::NoObject)?
        .try_into()
        .map_err(refused)?;
    let id = program
        .attach_to_if_index(index, XdpMode::Driver)
        .or_else(|_| program.attach_to_if_index(index, XdpMode::Skb))
        .map_err(refused)?;
    program.take_link(id).map_err(refused)
}

/// A packet socket over all interfaces, whose filter looks and queues nothing. Its packets begin
/// with the IP header (SOCK_DGRAM), whatever the device.
fn packet_socket(ebpf: &mut Ebpf, framing: Framing) -> Result<OwnedFd, AttachError> {
    let name = framing.program("http_trace_sock");
    load_program(ebpf, name)?;
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| AttachError::Refused {
        hook: "socket-filter",
        place: "a packet socket".to_owned(),
        source,
        instead: "it needs CAP_NET_RAW",
    };
    // Without a protocol it receives nothing until it has its filter.
    let socket = |protocol| {
        socket_with(
            AddressFamily::PACKET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            protocol,
        )
    };
    let program: &mut SocketFilter = ebpf
        .program_mut(name)
        .ok_or(LoadError::NoObject)?
        .try_into()
        .map_err(|error: ProgramError| refused(error.into()))?;
    let all = NonZeroU32::new(u32::from(ETH_P_ALL.to_be())).map(Protocol::from_raw);
    let socket = socket(all).map_err(|error| refused(error.into()))?;
    match program.attach(&socket) {
        Ok(_) => Ok(socket),
        Err(ProgramError::SocketFilterError(SocketFilterError::SetsockoptError {
            io_error,
            ..
        })) if io_error.raw_os_error() == Some(libc::ENOMEM) => Err(AttachError::Refused {
            hook: "socket-filter",
            place: "a packet socket".to_owned(),
            source: "the program is larger than what a socket may hold (net.core.optmem_max)"
                .into(),
            instead: "run `sysctl -w net.core.optmem_max=262144` (on old kernels it is 20480), or \
                      use --hook tc",
        }),
        Err(error) => Err(refused(error.into())),
    }
}

/// Both directions of the root cgroup, which every socket is below.
fn cgroup(ebpf: &mut Ebpf, framing: Framing) -> Result<Vec<CgroupSkbLink>, AttachError> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let root = cgroup2_mount(&mounts).ok_or(AttachError::NoCgroup2)?;
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| AttachError::Refused {
        hook: "cgroup",
        place: root.display().to_string(),
        source,
        instead: "another program may hold it exclusively (`bpftool cgroup tree` shows it); use \
                  --hook tc",
    };
    let folder = File::open(&root).map_err(|error| refused(error.into()))?;
    let mut links = Vec::new();
    for (name, place) in [
        ("http_trace_cg_in", CgroupSkbAttachType::Ingress),
        ("http_trace_cgout", CgroupSkbAttachType::Egress),
    ] {
        let name = framing.program(name);
        load_program(ebpf, name)?;
        let program: &mut CgroupSkb = ebpf
            .program_mut(name)
            .ok_or(LoadError::NoObject)?
            .try_into()
            .map_err(|error: ProgramError| refused(error.into()))?;
        // A link allows others beside it by itself; asking for it as well gives EINVAL.
        let link = program
            .attach(&folder, place, CgroupAttachMode::Single)
            .and_then(|id| program.take_link(id))
            .map_err(|error| refused(error.into()))?;
        links.push(link);
    }
    Ok(links)
}

/// Where cgroup v2 is mounted: alone, or beside v1 hierarchies (hybrid).
fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place.replace("\\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_alone_and_beside_v1() {
        let table = [
            (
                "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n",
                Some("/sys/fs/cgroup"),
            ),
            (
                "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                 none /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
                Some("/sys/fs/cgroup/unified"),
            ),
            (
                "none /mnt/two\\040words cgroup2 rw 0 0\n",
                Some("/mnt/two words"),
            ),
            ("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n", None),
        ];
        for (mounts, place) in table {
            assert_eq!(cgroup2_mount(mounts), place.map(PathBuf::from), "{mounts}");
        }
    }
}
