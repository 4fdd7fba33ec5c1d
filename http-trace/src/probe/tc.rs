//! Programs at TC: TCX if the kernel has it, otherwise clsact. Puts ours first in both directions, and checks
//! whether they still are.
//!
//! A program that runs before ours can hide packets from it: only TC_ACT_UNSPEC lets the next one run. Ours
//! returns that, so it hides nothing from others. To move it, a second copy is attached before the old one is
//! detached; what both see is a copy. Programs of others are never touched.

use std::collections::BTreeSet;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use aya::Ebpf;
use aya::programs::tc::{
    NlOptions, SchedClassifier, SchedClassifierLink, TcAttachOptions, TcAttachType, TcError,
    TcHandle, qdisc_add_clsact, qdisc_detach_program,
};
use aya::programs::{LinkOrder, ProgramError, loaded_programs};
use http_trace_common::record::Hook;

use super::loader::{Framing, program, programs_of};
use super::netlink::{self, ETH_P_ALL, RTM_NEWTFILTER, attributes, number, text};
use super::sys::{Chain, HookType, programs_at};

/// Handle of our filters at clsact; the following ones are used while a filter is moved.
const HANDLE: u16 = 0x6874;
const HANDLES: u16 = 8;
/// Preferences tried for our filters at clsact: lower ones run first. Filters without an explicit preference
/// get 49152 and below.
const PREFERENCES: std::ops::RangeInclusive<u16> = 1..=64;
/// Number of bytes of a program's name that the kernel keeps.
const NAME_BYTES: usize = 15;

http_trace_model::named_enum! {
    /// Direction of an interface's packets, with its name as used by `tc`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Side {
        /// Packets that it receives.
        Ingress = "ingress",
        /// Packets that it sends.
        Egress = "egress",
    }
}

impl Side {
    const fn place(self) -> TcAttachType {
        match self {
            Side::Ingress => TcAttachType::Ingress,
            Side::Egress => TcAttachType::Egress,
        }
    }

    const fn tcx(self) -> HookType {
        match self {
            Side::Ingress => HookType::TcxIngress,
            Side::Egress => HookType::TcxEgress,
        }
    }

    /// TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS (linux/pkt_sched.h).
    const fn parent(self) -> u32 {
        match self {
            Side::Ingress => 0xffff_fff2,
            Side::Egress => 0xffff_fff3,
        }
    }
}

/// Position of one of our programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It sees every packet first.
    First,
    /// It is first, but others that came and went since the last check may have run before it.
    FirstAgain,
    /// These run before it and may hide packets.
    Behind(Vec<String>),
    Gone,
}

/// One of our programs at TC. Dropping it detaches it.
#[derive(Debug)]
pub struct Placed {
    index: u32,
    pub side: Side,
    name: &'static str,
    program: u32,
    /// At clsact: preference and handle.
    filter: Option<(u16, u32)>,
    /// `None` once it has been dropped.
    link: Option<SchedClassifierLink>,
    /// At TCX: the programs at the last check.
    looked: Chain,
    /// Marks the program as belonging to an http-trace, as long as the socket is open.
    mark: Option<UnixDatagram>,
}

/// Name of the abstract socket that marks one of our programs at a place.
fn mark_of(index: u32, side: Side, program: u32) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("http-trace/{index}/{}/{program}", side.name()))
}

/// Binds that socket; it is in use if another http-trace holds it. Program names are no substitute, because
/// listing programs needs privileges.
fn mark(index: u32, side: Side, program: u32) -> io::Result<UnixDatagram> {
    let mark = UnixDatagram::bind_addr(&mark_of(index, side, program)?)?;
    mark.set_nonblocking(true)?;
    Ok(mark)
}

impl Drop for Placed {
    fn drop(&mut self) {
        let Some(link) = self.link.take() else { return };
        // A TCX link is certainly ours. A clsact filter is deleted by its place, which somebody else may
        // occupy by now.
        let is_ours = self.filter.is_none_or(|place| {
            filters(self.index, self.side)
                .unwrap_or_default()
                .iter()
                .any(|f| (f.preference, f.handle) == place && f.program == Some(self.program))
        });
        if !is_ours {
            std::mem::forget(link);
            return;
        }
        // One that checks before it is gone still sees it.
        self.say_gone();
        drop(link);
    }
}

/// Whether a running http-trace holds this program there.
fn is_marked(index: u32, side: Side, program: u32) -> bool {
    let error = mark(index, side, program).err();
    error.is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Whether there are filters of ours at clsact that no running http-trace holds.
pub fn has_left(index: u32, side: Side) -> io::Result<bool> {
    let of_none =
        |f: &Filter| is_ours(&f.name) && f.program.is_some_and(|id| !is_marked(index, side, id));
    Ok(filters(index, side)?.iter().any(of_none))
}

/// Attaches a loaded program first at TC: at TCX or at clsact.
pub fn place(
    ebpf: &mut Ebpf,
    name: &'static str,
    (index, interface): (u32, &str),
    side: Side,
    tcx: bool,
) -> Result<Placed, ProgramError> {
    let program: &mut SchedClassifier = program(ebpf, name)?;
    let id = program.info()?.id();
    let mut placed = Placed {
        index,
        side,
        name,
        program: id,
        filter: None,
        link: None,
        looked: Chain::default(),
        mark: mark(index, side, id).ok(),
    };
    if tcx {
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = program.attach_with_options(interface, side.place(), first)?;
        placed.link = Some(program.take_link(link)?);
        placed.looked = programs_at(index, side.tcx()).map_err(TcError::IoError)?;
        return Ok(placed);
    }
    // Fails if the qdisc exists; if it is unusable, attaching will fail.
    let _ = qdisc_add_clsact(interface);
    let there = filters(index, side).map_err(TcError::IoError)?;
    let mut refused = None;
    for preference in PREFERENCES {
        let here: Vec<&Filter> = there.iter().filter(|f| f.preference == preference).collect();
        // All filters of one preference have the same kind and protocol.
        if here.iter().any(|f| !f.takes_ours) {
            continue;
        }
        let is_free = |handle: &u32| here.iter().all(|f| f.handle != *handle);
        let Some(handle) = (HANDLE..HANDLE + HANDLES).map(u32::from).find(is_free) else {
            continue;
        };
        let options = TcAttachOptions::Netlink(NlOptions {
            priority: preference,
            handle: TcHandle::from(handle),
            classid: None,
        });
        match program.attach_with_options(interface, side.place(), options) {
            Ok(link) => {
                placed.filter = Some((preference, handle));
                placed.link = Some(program.take_link(link)?);
                return Ok(placed);
            }
            Err(error) => refused = refused.or(Some(error)),
        }
        if here.is_empty() {
            break;
        }
    }
    Err(refused.unwrap_or_else(|| TcError::IoError(io::ErrorKind::QuotaExceeded.into()).into()))
}

impl Placed {
    /// Whether it is attached with a TCX link.
    pub const fn is_tcx(&self) -> bool {
        self.filter.is_none()
    }

    /// Determines its current position.
    pub fn standing(&mut self) -> io::Result<Standing> {
        let at_tcx = programs_at(self.index, self.side.tcx());
        let Some(place) = self.filter else {
            let now = at_tcx?;
            let before = std::mem::replace(&mut self.looked, now);
            let guests = self.guests(&before, &self.looked);
            let ids = &self.looked.ids;
            return Ok(match ids.iter().position(|id| *id == self.program) {
                None => Standing::Gone,
                Some(at) => match behind(self.foreign(ids.get(..at).unwrap_or_default())) {
                    Standing::First if came_and_went(&before, &self.looked, guests) => {
                        Standing::FirstAgain
                    }
                    standing => standing,
                },
            });
        };
        let all = filters(self.index, self.side)?;
        let is_ours =
            |f: &Filter| (f.preference, f.handle) == place && f.program == Some(self.program);
        let Some(at) = all.iter().position(is_ours) else {
            return Ok(Standing::Gone);
        };
        // TCX programs run before clsact filters.
        let mut before = self.foreign(&at_tcx.unwrap_or_default().ids);
        let filters = all.get(..at).unwrap_or_default().iter();
        before.extend(filters.filter_map(Filter::foreign_name));
        Ok(behind(before))
    }

    /// Tells every http-trace at this place that the program is gone: between two of its checks it may not
    /// have seen it come.
    fn say_gone(&self) {
        let Some(mark) = self.mark.as_ref().filter(|_| self.is_tcx()) else {
            return;
        };
        for id in programs_at(self.index, self.side.tcx()).unwrap_or_default().ids {
            if let Ok(other) = mark_of(self.index, self.side, id) {
                let _ = mark.send_to_addr(&self.program.to_ne_bytes(), &other);
            }
        }
    }

    /// Number of other http-traces that came and went between these checks, as they said.
    fn guests(&self, before: &Chain, now: &Chain) -> u64 {
        let Some(mark) = &self.mark else {
            return 0;
        };
        let mut said = [0; 4];
        let gone = std::iter::from_fn(|| (mark.recv(&mut said).ok()? == 4).then_some(said));
        let gone: BTreeSet<u32> = gone.map(u32::from_ne_bytes).collect();
        gone.iter().filter(|id| !before.ids.contains(id) && !now.ids.contains(id)).count() as u64
    }

    /// Descriptions of the programs that belong to no http-trace.
    fn foreign(&self, ids: &[u32]) -> Vec<String> {
        let taken = |id: &u32| is_marked(self.index, self.side, *id);
        let mut others: Vec<u32> = ids.iter().copied().filter(|id| !taken(id)).collect();
        if !others.is_empty() {
            // Another http-trace may have gone since they were listed, and its mark with it.
            let now = programs_at(self.index, self.side.tcx()).unwrap_or_default();
            others.retain(|id| now.ids.contains(id));
        }
        named(&others)
    }

    /// Moves it to the front; the old copy is detached once the new one is attached.
    ///
    /// # Errors
    /// If the kernel refuses; the old copy stays in place.
    pub fn move_first(&mut self, ebpf: &mut Ebpf, interface: &str) -> Result<(), ProgramError> {
        let tcx = self.filter.is_none();
        if tcx {
            let program: &mut SchedClassifier = program(ebpf, self.name)?;
            // TCX accepts a program only once per hook. An attached program stays loaded.
            if program.info()?.id() == self.program {
                program.unload()?;
                program.load()?;
            }
        }
        let new = place(ebpf, self.name, (self.index, interface), self.side, tcx)?;
        let mut old = std::mem::replace(self, new);
        if tcx {
            // Account for detaching our old copy.
            self.looked.revision += 1;
            self.looked.ids.retain(|id| *id != old.program);
        }
        // The new filter may have taken the place of the old one, which was deleted by others.
        if !tcx && old.filter == self.filter {
            std::mem::forget(old.link.take());
        }
        Ok(())
    }
}

/// Whether more attaches and detaches happened between two checks than the lists show, and this number of
/// guests made.
fn came_and_went(before: &Chain, now: &Chain, guests: u64) -> bool {
    let missing =
        |from: &Chain, of: &Chain| of.ids.iter().filter(|id| !from.ids.contains(id)).count();
    let shows = missing(before, now) + missing(now, before);
    now.revision.saturating_sub(before.revision) > shows as u64 + 2 * guests
}

fn behind(before: Vec<String>) -> Standing {
    if before.is_empty() { Standing::First } else { Standing::Behind(before) }
}

/// Whether this kernel has TCX (Linux 6.6).
pub fn has_tcx() -> bool {
    // lo is the first interface of every namespace.
    programs_at(1, HookType::TcxIngress).is_ok()
}

/// Descriptions of programs, without those of an http-trace, which let every packet pass.
pub fn named(ids: &[u32]) -> Vec<String> {
    if ids.is_empty() {
        return Vec::new();
    }
    // Listing programs by name needs CAP_SYS_ADMIN.
    let known: Vec<(u32, String)> = loaded_programs()
        .map_while(Result::ok)
        .filter(|info| ids.contains(&info.id()))
        .map(|info| (info.id(), info.name_as_str().unwrap_or_default().to_owned()))
        .collect();
    let name = |id: &u32| known.iter().find(|(known, _)| known == id);
    ids.iter()
        .filter_map(|id| match name(id) {
            Some((_, name)) if is_ours(name) => None,
            Some((_, name)) if !name.is_empty() => Some(format!("program {name} (id {id})")),
            _ => Some(format!("program id {id} (`bpftool prog show id {id}` names it)")),
        })
        .collect()
}

/// Whether this name, possibly truncated, is one of our programs.
fn is_ours(name: &str) -> bool {
    our_programs().any(|ours| {
        let cut = ours.get(..NAME_BYTES).unwrap_or(ours);
        name == ours || name == cut
    })
}

fn our_programs() -> impl Iterator<Item = &'static str> {
    [Framing::Kernel, Framing::Host]
        .into_iter()
        .flat_map(|framing| programs_of(Hook::Tc).iter().map(move |name| framing.program(name)))
}

/// Deletes filters of ours that a killed agent left at clsact.
pub fn remove_left(interface: &str, side: Side) -> Result<(), TcError> {
    for name in our_programs() {
        match qdisc_detach_program(interface, side.place(), name) {
            // An I/O error means that there is none.
            Ok(()) | Err(TcError::IoError(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A filter at clsact.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    preference: u16,
    handle: u32,
    kind: String,
    /// Whether our filters can share its preference.
    takes_ours: bool,
    /// For kind bpf: its name and program id.
    name: String,
    program: Option<u32>,
}

impl Filter {
    /// Its description, unless it is one of ours.
    fn foreign_name(&self) -> Option<String> {
        let (kind, preference) = (&self.kind, self.preference);
        match self.program {
            Some(_) if is_ours(&self.name) => None,
            Some(id) => {
                Some(format!("filter {} (program id {id}, preference {preference})", self.name))
            }
            None => Some(format!("{kind} filter (preference {preference})")),
        }
    }
}

// linux/rtnetlink.h, linux/pkt_cls.h
const RTM_GETTFILTER: u16 = 46;
const TCMSG: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_ID: u16 = 11;

/// The filters of one side of an interface's clsact qdisc, in execution order; empty without such a qdisc.
fn filters(index: u32, side: Side) -> io::Result<Vec<Filter>> {
    let socket = netlink::open(0)?;
    let request = [0, index, 0, side.parent(), 0].map(u32::to_ne_bytes).concat();
    let mut all = Vec::new();
    let mut buffer = vec![0; netlink::BUFFER];
    netlink::list(&socket, RTM_GETTFILTER, &request, &mut buffer, |kind, body| {
        if kind == RTM_NEWTFILTER {
            all.extend(filter(body));
        }
    })?;
    // For each preference the kernel lists an entry without handle first, then its filters.
    let is_place = |f: &Filter| f.handle == 0;
    let filled: Vec<u16> = all.iter().filter(|f| !is_place(f)).map(|f| f.preference).collect();
    all.retain(|f| !is_place(f) || !filled.contains(&f.preference));
    Ok(all)
}

/// Parses a `tcmsg` with its attributes.
fn filter(body: &[u8]) -> Option<Filter> {
    let (handle, info) = (number(body, 8)?, number(body, 16)?);
    let mut filter = Filter {
        preference: (info >> 16) as u16,
        handle,
        kind: String::new(),
        takes_ours: false,
        name: String::new(),
        program: None,
    };
    for (kind, value) in attributes(body.get(TCMSG..)?) {
        match kind {
            TCA_KIND => filter.kind = text(value),
            TCA_OPTIONS => {
                for (kind, value) in attributes(value) {
                    match kind {
                        TCA_BPF_NAME => filter.name = text(value),
                        TCA_BPF_ID => filter.program = number(value, 0),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if filter.kind != "bpf" {
        (filter.name, filter.program) = (String::new(), None);
    }
    filter.takes_ours = filter.kind == "bpf" && info as u16 == ETH_P_ALL.to_be();
    Some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(netlink::align(bytes.len()), 0);
        bytes
    }

    fn message(preference: u16, protocol: u16, handle: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let info = u32::from(preference) << 16 | u32::from(protocol.to_be());
        let numbers = [0, 2, handle, Side::Egress.parent(), info].map(u32::to_ne_bytes);
        [numbers.concat(), attributes.concat()].concat()
    }

    #[test]
    fn filters_are_read_with_what_tells_them_apart() {
        let bpf = attribute(TCA_KIND, b"bpf\0");
        let options = attribute(
            TCA_OPTIONS,
            &[attribute(TCA_BPF_NAME, b"lb_out\0"), attribute(TCA_BPF_ID, &12u32.to_ne_bytes())]
                .concat(),
        );
        let whole = message(1, ETH_P_ALL, 7, &[bpf.clone(), options.clone()]);
        let read = filter(&whole).expect("a filter");
        assert_eq!((read.preference, read.handle, read.program), (1, 7, Some(12)));
        assert!(read.takes_ours);
        assert_eq!(
            read.foreign_name().as_deref(),
            Some("filter lb_out (program id 12, preference 1)")
        );
        // Another protocol or kind: ours cannot be added.
        let ip = filter(&message(1, 0x800, 7, &[bpf, options.clone()])).expect("a filter");
        assert!(!ip.takes_ours);
        let u32_filter =
            message(3, ETH_P_ALL, 0x8000_0800, &[attribute(TCA_KIND, b"u32\0"), options]);
        let u32_filter = filter(&u32_filter).expect("a filter");
        assert!(!u32_filter.takes_ours);
        assert_eq!(u32_filter.foreign_name().as_deref(), Some("u32 filter (preference 3)"));
        for cut in 0..whole.len() {
            let _ = filter(&whole[..cut]);
        }
    }

    #[test]
    fn what_came_and_went_is_noticed() {
        let chain = |revision, ids: &[u32]| Chain { revision, ids: ids.to_vec() };
        for (before, now, expected) in [
            (chain(5, &[1]), chain(5, &[1]), false),
            // Another is added behind us, removed, or replaced.
            (chain(5, &[1]), chain(6, &[1, 2]), false),
            (chain(5, &[1, 2]), chain(6, &[1]), false),
            (chain(5, &[1, 2]), chain(7, &[1, 3]), false),
            (chain(5, &[1, 2]), chain(6, &[1, 3]), false),
            // One came and went in between.
            (chain(5, &[1]), chain(7, &[1]), true),
            (chain(5, &[1, 2]), chain(8, &[1]), true),
        ] {
            assert_eq!(came_and_went(&before, &now, 0), expected, "{before:?} {now:?}");
            // As another http-trace says.
            assert!(!came_and_went(&before, &now, 1), "{before:?} {now:?}");
        }
    }

    #[test]
    fn programs_of_ours_are_known_by_their_cut_names_too() {
        for (name, ours) in [
            ("http_trace_out", true),
            ("http_trace_ip_in", true),
            ("http_trace_ip_i", true),
            ("http_trace_hipo", true),
            ("http_trace", false),
            ("", false),
            ("cil_to_netdev", false),
        ] {
            assert_eq!(is_ours(name), ours, "{name}");
        }
    }
}
