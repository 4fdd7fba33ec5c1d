//! Who sends on a socket: what a program notes when a process hands bytes to TCP, and the host reads
//! from the same memory. Says nothing of packets.

use bytemuck::{Pod, Zeroable};

/// How many sockets are remembered. A power of two: a socket's place is in the low bits of its cookie,
/// which the kernel counts up, so that sockets of one time seldom meet in one place.
pub const PLACES: u32 = 32_768;

/// Where the socket of a cookie is remembered.
#[inline(always)]
pub const fn place_of(cookie: u64) -> u32 {
    cookie as u32 & (PLACES - 1)
}

/// The process that sends on a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Sender {
    /// Moves on with each change; odd while it is written.
    pub version: u64,
    /// The socket's cookie, 0 before the first.
    pub cookie: u64,
    /// Since when no other process has sent on it: CLOCK_BOOTTIME, ns. Taken before the bytes leave.
    pub since_ns: u64,
    /// The process's number in the first PID namespace above, that of its thread below.
    pub process_and_thread: u64,
    /// The process's cgroup (version 2).
    pub cgroup_id: u64,
    /// Its user in the first user namespace below, its group above.
    pub group_and_user: u64,
    /// Name of the thread (`comm`), filled up with zeros.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Sender>() == 64);

impl Sender {
    /// The process's number.
    pub const fn process(&self) -> u32 {
        (self.process_and_thread >> 32) as u32
    }

    /// Whether the thread is the process's first, whose name is the process's.
    pub const fn is_first_thread(&self) -> bool {
        self.process() == self.process_and_thread as u32
    }

    /// The thread's name.
    pub fn name(&self) -> &[u8] {
        self.comm.split(|byte| *byte == 0).next().unwrap_or(&[])
    }

    /// The user's number.
    pub const fn user(&self) -> u32 {
        self.group_and_user as u32
    }
}
