//! System calls without a wrapper elsewhere.
#![expect(unsafe_code, reason = "system calls without a safe wrapper; each is one call")]

use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::AtomicU64;

/// SO_NETNS_COOKIE (asm-generic/socket.h), Linux 5.14.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The cookie of a socket's network namespace.
///
/// # Errors
/// ENOPROTOOPT before Linux 5.14.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and `len` is the size of the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// Moves this thread into a new network namespace, which ends with it.
///
/// # Errors
/// Without CAP_SYS_ADMIN.
pub fn leave_netns() -> io::Result<()> {
    // SAFETY: no file descriptor is unshared.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }?)
}

/// Gives unused pages of the heap back to the kernel, where the allocator keeps them (glibc): reading the
/// kernel's BTF, loading programs and compiling rules take several MiB once.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no requirements; it takes the allocator's locks (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}

/// BPF_PROG_QUERY (linux/bpf.h).
const BPF_PROG_QUERY: libc::c_int = 16;
/// Maximum number of programs at a hook (BPF_MPROG_MAX), rounded up.
const MOST_PROGRAMS: usize = 64;

/// The part of `union bpf_attr` that BPF_PROG_QUERY reads (linux/bpf.h).
#[derive(Default)]
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
    /// Ingress of a cgroup's sockets; the target is the descriptor of its folder.
    CgroupIngress = 0,
    /// Egress of a cgroup's sockets.
    CgroupEgress = 1,
    /// TCX ingress; the target is an interface index.
    TcxIngress = 46,
    TcxEgress = 47,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Their ids, in execution order.
    pub ids: Vec<u32>,
    /// Incremented by each attach and detach; always 0 for a cgroup.
    pub revision: u64,
}

/// Lists the programs at a hook. `target` is an interface index or a descriptor.
///
/// # Errors
/// EINVAL if the kernel lacks the hook.
pub fn programs_at(target: u32, hook: HookType) -> io::Result<Chain> {
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut query = Query {
        target,
        attach_type: hook as u32,
        program_ids: (&raw mut ids) as u64,
        programs: MOST_PROGRAMS as u32,
        ..Query::default()
    };
    // Fields unknown to the kernel that introduced the hook must be left out; cgroup hooks are older.
    let size = match hook {
        HookType::CgroupIngress | HookType::CgroupEgress => offset_of!(Query, program_flags),
        HookType::TcxIngress | HookType::TcxEgress => size_of::<Query>(),
    };
    // SAFETY: the kernel writes to `query`, whose size is passed, and to `ids`, whose length is passed; both
    // outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut query, size as libc::c_uint)
    };
    if result == 0 {
        let there = (query.programs as usize).min(ids.len());
        return Ok(Chain { ids: ids[..there].to_vec(), revision: query.revision });
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
#[derive(Default)]
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

/// Reads entries of a hash map into `keys` and `values`, whose element sizes must match the map, starting at
/// `place`, which it advances; `None` means the start before the call, and the end after it. Returns the
/// number of entries.
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
        ..Batch::default()
    };
    // SAFETY: the kernel writes at most `count` keys and values of the map's sizes, which the caller's slices
    // hold, to `after`, and to `batch`, whose size is passed; all outlive the call.
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
        // The last batch.
        error if error.raw_os_error() == Some(libc::ENOENT) => {
            *place = None;
            Ok(batch.count as usize)
        }
        error => Err(error),
    }
}

/// The values of an array map, mapped into memory: reading takes no system call and no capability. The map
/// must be created with BPF_F_MMAPABLE (Linux 5.5).
#[derive(Debug)]
pub struct MappedWords {
    words: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory is only read, word by word, and does not move.
unsafe impl Send for MappedWords {}
// SAFETY: as above.
unsafe impl Sync for MappedWords {}

impl MappedWords {
    /// Maps the first `count` words of the map.
    ///
    /// # Errors
    /// If the map is smaller, or was not created for it.
    pub fn new(map: impl AsFd, count: usize) -> io::Result<Self> {
        let len = count * size_of::<AtomicU64>();
        let map = map.as_fd().as_raw_fd();
        // SAFETY: a new mapping at an address chosen by the kernel, of a file that does not shrink.
        let at =
            unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, map, 0) };
        match NonNull::new(at.cast()).filter(|_| at != libc::MAP_FAILED) {
            Some(words) => Ok(MappedWords { words, count }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// The words; the programs may change them at any time.
    pub const fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped until this is dropped, and page-aligned; words are read atomically.
        unsafe { slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Drop for MappedWords {
    fn drop(&mut self) {
        // SAFETY: unmaps our own mapping, to which no reference remains.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.count * size_of::<AtomicU64>()) };
    }
}
