//! Reads rtnetlink (RFC 3549, linux/rtnetlink.h): list requests, messages and attributes. Knows nothing about
//! their meaning, and changes nothing.
//!
//! Hand-written, because only a few attributes are needed and a crate that parses all of them
//! (netlink-packet-route) rejects a whole message if one of them is unexpected.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send,
    socket_with,
};

// linux/netlink.h
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Used by several modules (linux/rtnetlink.h, linux/if_ether.h).
pub const RTM_NEWTFILTER: u16 = 44;
pub const ETH_P_ALL: u16 = 3;
/// Size of a message header in bytes.
pub const HEADER: usize = 16;
/// Buffer for an answer in bytes: the kernel sends at most 32 KiB at once.
pub const BUFFER: usize = 64 << 10;

/// Opens a non-blocking socket subscribed to these groups (RTMGRP_*).
pub fn open(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Requests a list and waits for all of it; calls `each` with the type and body of each message, including
/// notifications of the socket's groups.
pub fn list(
    socket: &OwnedFd,
    kind: u16,
    body: &[u8],
    buffer: &mut [u8],
    mut each: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    let mut request = Vec::with_capacity(HEADER + body.len());
    request.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.resize(HEADER, 0);
    request.extend(body);
    send(socket, &request, SendFlags::empty())?;
    loop {
        let timeout = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
        let mut ready = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
        if rustix::event::poll(&mut ready, Some(&timeout))? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "rtnetlink does not answer"));
        }
        let (len, _) = recv(socket, &mut *buffer, RecvFlags::empty())?;
        for (kind, body) in messages(buffer.get(..len).unwrap_or_default()) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(-code));
                }
                _ => each(kind, body),
            }
        }
    }
}

/// Types and bodies of the messages in a datagram. Stops at malformed data.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = number(bytes, 0)? as usize;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let body = bytes.get(HEADER..len)?;
        bytes = bytes.get(align(len)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Types (without flags) and values of attributes. Stops at malformed data.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const FLAGS: u16 = 0xc000;
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..len)?;
        bytes = bytes.get(align(len)..).unwrap_or_default();
        Some((kind & !FLAGS, value))
    })
}

/// The 32-bit number at an offset, if present.
pub fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A NUL-terminated string attribute.
pub fn text(value: &[u8]) -> String {
    let text = value.split(|&b| b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Rounds a netlink length up to a multiple of four.
pub const fn align(len: usize) -> usize {
    (len + 3) & !3
}
