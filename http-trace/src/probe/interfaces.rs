//! The network interfaces of this namespace and their changes, and notifications of changes to qdiscs and
//! filters. Attaches nothing.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};
use http_trace_common::config::limit;
use rustix::net::{RecvFlags, recv};

use super::netlink::{self, RTM_NEWTFILTER, attributes, messages, number};

/// First header of a device's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    Ethernet,
    /// The IP header (tun, wireguard, ipip).
    Ip,
    /// A header that no hook supports, with its ARPHRD type (linux/if_arp.h).
    Other(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: Arc<str>,
    /// Whether it is administratively up.
    pub up: bool,
    /// First header of its frames.
    pub link: LinkLayer,
    /// Ids of the programs at its XDP hook: one, or one in driver mode and one in generic mode.
    pub xdp: Vec<u32>,
}

/// Which interfaces to trace, by name.
#[derive(Clone, Debug)]
pub struct Wanted {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Wanted {
    /// Names or globs to trace (none: all) and to exclude.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, globset::Error> {
        let set = |globs: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                builder.add(Glob::new(glob)?);
            }
            builder.build()
        };
        let include = if include.is_empty() { None } else { Some(set(include)?) };
        Ok(Wanted { include, exclude: set(exclude)? })
    }

    /// What the names mean for hooks that see every interface.
    pub fn limit(&self) -> u8 {
        match (&self.include, self.is_everything()) {
            (_, true) => limit::NONE,
            (Some(_), _) => limit::NAMED,
            (None, _) => limit::EXCLUDED,
        }
    }

    pub fn is_everything(&self) -> bool {
        self.include.is_none() && self.exclude.is_empty()
    }

    pub fn contains(&self, name: &str) -> bool {
        self.include.as_ref().is_none_or(|set| set.is_match(name)) && !self.exclude.is_match(name)
    }
}

/// The interfaces of this namespace, kept up to date by [`Interfaces::update`].
#[derive(Debug)]
pub struct Interfaces {
    socket: OwnedFd,
    /// By index.
    pub known: BTreeMap<u32, Interface>,
    /// Whether qdiscs or filters have changed since the owner last took it, as far as [`Interfaces::update`] has read.
    pub tc_changed: bool,
    buffer: Vec<u8>,
}

// linux/rtnetlink.h, linux/if_link.h, linux/if.h
const RTMGRP_LINK: u32 = 1;
const RTMGRP_TC: u32 = 8;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_DELTFILTER: u16 = 45;
const IFLA_IFNAME: u16 = 3;
const IFLA_XDP: u16 = 43;
/// IFLA_XDP_PROG_ID, and the attributes with the program of each mode.
const XDP_PROGRAM_IDS: std::ops::RangeInclusive<u16> = 4..=7;
const IFF_UP: u32 = 1;
const IFINFO: usize = 16;

impl Interfaces {
    /// Subscribes to changes before listing all interfaces, so that none is missed.
    pub fn open() -> io::Result<Self> {
        let mut interfaces = Interfaces {
            socket: netlink::open(RTMGRP_LINK | RTMGRP_TC)?,
            known: BTreeMap::new(),
            tc_changed: false,
            buffer: vec![0; netlink::BUFFER],
        };
        interfaces.dump()?;
        Ok(interfaces)
    }

    /// Readable when something has changed.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads pending changes without blocking; returns whether there were any.
    pub fn update(&mut self) -> io::Result<bool> {
        let mut changed = false;
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            let received = recv(&self.socket, &mut buffer[..], RecvFlags::empty());
            if let Ok((len, _)) = received {
                for (kind, body) in messages(buffer.get(..len).unwrap_or_default()) {
                    changed |= apply(&mut self.known, kind, body);
                    self.tc_changed |= matches!(
                        kind,
                        RTM_NEWQDISC | RTM_DELQDISC | RTM_NEWTFILTER | RTM_DELTFILTER
                    );
                }
            }
            self.buffer = buffer;
            match received {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(changed),
                Err(rustix::io::Errno::INTR) => {}
                // Messages were dropped: the known interfaces may be stale.
                Err(rustix::io::Errno::NOBUFS) => {
                    self.known.clear();
                    self.dump()?;
                    (changed, self.tc_changed) = (true, true);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Requests all interfaces and waits for the whole answer.
    fn dump(&mut self) -> io::Result<()> {
        let known = &mut self.known;
        let each = |kind, body: &[u8]| {
            apply(known, kind, body);
        };
        netlink::list(&self.socket, RTM_GETLINK, &[0; IFINFO], &mut self.buffer, each)
    }
}

/// Applies a message; returns whether it changed anything.
fn apply(known: &mut BTreeMap<u32, Interface>, kind: u16, body: &[u8]) -> bool {
    let Some((index, interface)) = link(body) else { return false };
    match kind {
        RTM_NEWLINK => {
            let new = known.get(&index) != Some(&interface);
            known.insert(index, interface);
            new
        }
        RTM_DELLINK => known.remove(&index).is_some(),
        _ => false,
    }
}

/// Parses an `ifinfomsg` with its attributes.
fn link(body: &[u8]) -> Option<(u32, Interface)> {
    let hardware = u16::from_ne_bytes(*body.get(2..)?.first_chunk()?);
    let index = number(body, 4)?;
    let flags = number(body, 8)?;
    let mut name = None;
    let mut xdp = Vec::new();
    for (kind, value) in attributes(body.get(IFINFO..)?) {
        match kind {
            IFLA_IFNAME => name = Some(netlink::text(value).into()),
            IFLA_XDP => {
                let ids = attributes(value).filter(|(kind, _)| XDP_PROGRAM_IDS.contains(kind));
                xdp = ids.filter_map(|(_, id)| number(id, 0)).collect();
                xdp.sort_unstable();
                xdp.dedup();
            }
            _ => {}
        }
    }
    let interface =
        Interface { name: name?, up: flags & IFF_UP != 0, link: link_layer(hardware), xdp };
    Some((index, interface))
}

/// Maps ARPHRD types (linux/if_arp.h).
const fn link_layer(hardware: u16) -> LinkLayer {
    match hardware {
        // ETHER, LOOPBACK
        1 | 772 => LinkLayer::Ethernet,
        // NONE (tun, wireguard), RAWIP, TUNNEL, TUNNEL6, SIT, IPGRE, IP6GRE, PPP
        0xfffe | 519 | 768 | 769 | 776 | 778 | 823 | 512 => LinkLayer::Ip,
        other => LinkLayer::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::netlink::{HEADER as NLMSG_HEADER, align};
    use super::*;

    fn message(kind: u16, hardware: u16, index: u32, flags: u32, name: &str) -> Vec<u8> {
        let mut attribute = Vec::new();
        attribute.extend((4 + name.len() as u16 + 1).to_ne_bytes());
        attribute.extend(IFLA_IFNAME.to_ne_bytes());
        attribute.extend(name.as_bytes());
        attribute.resize(align(attribute.len() + 1), 0);
        let mut m = Vec::new();
        m.extend(((NLMSG_HEADER + IFINFO + attribute.len()) as u32).to_ne_bytes());
        m.extend(kind.to_ne_bytes());
        m.resize(NLMSG_HEADER, 0);
        m.extend([0, 0]);
        m.extend(hardware.to_ne_bytes());
        m.extend(index.to_ne_bytes());
        m.extend(flags.to_ne_bytes());
        m.extend([0; 4]);
        m.extend(attribute);
        m
    }

    #[test]
    fn interfaces_come_go_and_change_their_names() {
        let datagram: Vec<u8> = [
            message(RTM_NEWLINK, 772, 1, 1, "lo"),
            message(RTM_NEWLINK, 1, 2, 0, "veth0"),
            message(RTM_NEWLINK, 0xfffe, 3, 1, "tun0"),
            message(RTM_NEWLINK, 1, 2, 1, "web"),
            message(RTM_NEWLINK, 801, 4, 1, "wlan0"),
            message(RTM_DELLINK, 0xfffe, 3, 1, "tun0"),
        ]
        .concat();
        let mut known = BTreeMap::new();
        for (kind, body) in messages(&datagram) {
            assert!(apply(&mut known, kind, body));
        }
        let seen: Vec<_> = known.iter().map(|(i, n)| (*i, &*n.name, n.up, n.link)).collect();
        assert_eq!(
            seen,
            [
                (1, "lo", true, LinkLayer::Ethernet),
                (2, "web", true, LinkLayer::Ethernet),
                (4, "wlan0", true, LinkLayer::Other(801)),
            ]
        );
        // Repetition changes nothing; truncated messages are ignored.
        let again = message(RTM_NEWLINK, 1, 2, 1, "web");
        assert!(messages(&again).all(|(kind, body)| !apply(&mut known, kind, body)));
        for cut in 0..again.len() {
            assert_eq!(messages(&again[..cut]).count(), 0, "{cut}");
        }
    }

    #[test]
    fn globs_choose() {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let table: &[(&[&str], &[&str], &[&str], &[&str])] = &[
            (&[], &[], &["lo", "eth0"], &[]),
            (&["eth*"], &[], &["eth0", "eth1"], &["lo"]),
            (&["eth*", "lo"], &["eth1"], &["eth0", "lo"], &["eth1"]),
            (&[], &["veth*"], &["lo"], &["veth12"]),
        ];
        for (include, exclude, yes, no) in table {
            let wanted = Wanted::new(&strings(include), &strings(exclude)).expect("globs");
            assert!(yes.iter().all(|name| wanted.contains(name)), "{include:?} {exclude:?}");
            assert!(!no.iter().any(|name| wanted.contains(name)), "{include:?} {exclude:?}");
        }
    }

    #[test]
    fn this_host_has_lo() {
        let interfaces = Interfaces::open().expect("rtnetlink");
        assert!(interfaces.known.values().any(|i| &*i.name == "lo"));
    }
}
