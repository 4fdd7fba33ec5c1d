//! The process that sends on a socket: an eBPF program notes it when a process hands bytes to TCP, and
//! the host reads it from the same memory. Knows nothing of packets.

use bytemuck::{Pod, Zeroable};

/// Number of sockets that are remembered. A power of two: the index of a socket is the low bits of its
/// cookie. The kernel counts cookies up, so sockets of the same time rarely share an index.
pub const PLACES: u32 = 32_768;

/// Index at which the socket with this cookie is remembered.
#[inline(always)]
pub const fn place_of(cookie: u64) -> u32 {
    cookie as u32 & (PLACES - 1)
}

/// The process that sends on a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Sender {
    /// Incremented with each change; odd while the entry is being written.
    pub version: u64,
    /// Cookie of the socket; 0 before the first one.
    pub cookie: u64,
    /// Time since which no other process has sent on it: CLOCK_BOOTTIME, ns. Taken before the bytes
    /// leave.
    pub since_ns: u64,
    /// Process ID in the initial PID namespace in the upper half, thread ID in the lower half.
    pub process_and_thread: u64,
    /// ID of the process's cgroup (version 2).
    pub cgroup_id: u64,
    /// User ID in the initial user namespace in the lower half, group ID in the upper half.
    pub group_and_user: u64,
    /// Name of the thread (`comm`), padded with zeros.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Sender>() == 64);

impl Sender {
    /// The process ID.
    pub const fn process(&self) -> u32 {
        (self.process_and_thread >> 32) as u32
    }

    /// Whether the thread is the main thread of the process, whose name is that of the process.
    pub const fn is_first_thread(&self) -> bool {
        self.process() == self.process_and_thread as u32
    }

    /// The name of the thread.
    pub fn name(&self) -> &[u8] {
        self.comm.split(|byte| *byte == 0).next().unwrap_or(&[])
    }

    /// The user ID.
    pub const fn user(&self) -> u32 {
        self.group_and_user as u32
    }
}
