//! The few system calls that nothing else wraps.
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper; each is one call"
)]

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

/// SO_NETNS_COOKIE (asm-generic/socket.h), Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The cookie of the network namespace that a socket lives in.
///
/// # Errors
/// ENOPROTOOPT before Linux 5.14.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and `len` is the first one's size.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Puts this thread into a network namespace of its own, which goes with it.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn leave_netns() -> io::Result<()> {
    // SAFETY: no file descriptor is unshared.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?)
}

/// BPF_PROG_QUERY (linux/bpf.h).
const BPF_PROG_QUERY: libc::c_int = 16;
/// Programs that a hook holds at most (BPF_MPROG_MAX), rounded up.
const MOST_PROGRAMS: usize = 64;

/// The part of `union bpf_attr` that BPF_PROG_QUERY reads (linux/bpf.h).
#[repr(C)]
struct Query {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    programs: u32,
    _padding: u32,
    program_flags: u64,
    link_ids: u64,
    link_flags: u64,
    revision: u64,
}

/// Hooks whose programs can be listed, with their numbers in `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HookType {
    /// Into the sockets of a cgroup; the target is the descriptor of its folder.
    CgroupIngress = 0,
    /// Out of them.
    CgroupEgress = 1,
    /// TCX ingress; the target is an interface's index.
    TcxIngress = 46,
    /// TCX egress.
    TcxEgress = 47,
}

/// The programs at a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Their ids, in the order in which they run.
    pub ids: Vec<u32>,
    /// Moves on with each that is attached or detached; at a cgroup always 0.
    pub revision: u64,
}

/// The programs at a hook. `target` is an interface's index or a descriptor.
///
/// # Errors
/// EINVAL where the kernel has no such hook.
pub fn programs_at(target: u32, hook: HookType) -> io::Result<Chain> {
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut query = Query {
        target,
        attach_type: hook as u32,
        query_flags: 0,
        attach_flags: 0,
        program_ids: (&raw mut ids) as u64,
        programs: MOST_PROGRAMS as u32,
        _padding: 0,
        program_flags: 0,
        link_ids: 0,
        link_flags: 0,
        revision: 0,
    };
    // Fields that the hook's kernel does not know must be absent: cgroups were there first.
    let size = match hook {
        HookType::CgroupIngress | HookType::CgroupEgress => offset_of!(Query, program_flags),
        HookType::TcxIngress | HookType::TcxEgress => size_of::<Query>(),
    };
    // SAFETY: the kernel writes to `query`, of which it is told the size, and to `ids`, of which it
    // is told the length; both live until it is done.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_QUERY,
            &raw mut query,
            size as libc::c_uint,
        )
    };
    if result == 0 {
        let there = (query.programs as usize).min(ids.len());
        return Ok(Chain {
            ids: ids[..there].to_vec(),
            revision: query.revision,
        });
    }
    match io::Error::last_os_error() {
        // Nothing has ever been attached there.
        error if error.raw_os_error() == Some(libc::ENOENT) => Ok(Chain::default()),
        error => Err(error),
    }
}

/// BPF_MAP_LOOKUP_BATCH (linux/bpf.h), Linux 5.6.
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// The part of `union bpf_attr` that BPF_MAP_LOOKUP_BATCH reads (linux/bpf.h).
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Reads entries of a hash map into `keys` and `values`, which are of the map's sizes, from `place` on,
/// which it moves; `None` at first, and when that was all. How many it read.
///
/// # Errors
/// When the kernel refuses.
pub fn read_batch<K: bytemuck::Pod, V: bytemuck::Pod>(
    map: impl AsFd,
    place: &mut Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<usize> {
    let before = place.unwrap_or_default();
    let mut after = 0u32;
    let mut batch = Batch {
        in_batch: place.map_or(0, |_| (&raw const before) as u64),
        out_batch: (&raw mut after) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map: map.as_fd().as_raw_fd() as u32,
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel writes at most `count` keys and values of the map's sizes, which the caller's
    // slices hold, to `after` and to `batch`, of which it is told the size; all live until it is done.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_LOOKUP_BATCH,
            &raw mut batch,
            size_of::<Batch>() as libc::c_uint,
        )
    };
    if result == 0 {
        *place = Some(after);
        return Ok(batch.count as usize);
    }
    match io::Error::last_os_error() {
        // The last ones.
        error if error.raw_os_error() == Some(libc::ENOENT) => {
            *place = None;
            Ok(batch.count as usize)
        }
        error => Err(error),
    }
}

/// The values of an array map, read where the programs write them: without a system call, and without a
/// capability. The map must be made for it (BPF_F_MMAPABLE, Linux 5.5).
#[derive(Debug)]
pub struct MappedWords {
    words: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory is only read, word by word, and stays where it is.
unsafe impl Send for MappedWords {}
// SAFETY: as above.
unsafe impl Sync for MappedWords {}

impl MappedWords {
    /// Maps this many words of the map.
    ///
    /// # Errors
    /// When it is smaller, or not made for it.
    pub fn new(map: impl AsFd, count: usize) -> io::Result<Self> {
        let len = count * size_of::<AtomicU64>();
        let map = map.as_fd().as_raw_fd();
        // SAFETY: a new mapping, wherever there is room, of a file that does not shrink.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                map,
                0,
            )
        };
        match NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED) {
            Some(words) => Ok(MappedWords { words, count }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// They change while they are read.
    pub const fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped until this is dropped, aligned to a page; reading a word is one instruction.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Drop for MappedWords {
    fn drop(&mut self) {
        // SAFETY: what was mapped, to which no reference is left.
        unsafe {
            libc::munmap(
                self.words.as_ptr().cast(),
                self.count * size_of::<AtomicU64>(),
            )
        };
    }
}
