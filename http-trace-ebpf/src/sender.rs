//! Notes which process hands bytes to TCP, before the bytes leave. The socket cookie of a packet then
//! leads to its process, even after a fork, in a thread, and after the socket was passed on or the process
//! has exited. Only one of the two programs is loaded, whichever the kernel can attach.

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_boot_ns,
        generated::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_socket_cookie},
    },
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use http_trace_common::sender::place_of;

use crate::{
    insn::{compare_exchange, fetch_add},
    maps::SENDERS,
};

/// At the tracepoint of `tcp_sendmsg_locked`. Linux 6.16.
#[btf_tracepoint(function = "tcp_sendmsg_locked")]
pub fn http_trace_send(context: BtfTracePointContext) -> i32 {
    note(context.arg(0));
    0
}

/// At the function itself. Linux 5.12 (socket cookie, atomic operations), on kernels that can trace
/// functions.
#[fentry(function = "tcp_sendmsg_locked")]
pub fn http_trace_fsnd(context: FEntryContext) -> i32 {
    note(context.arg(0));
    0
}

/// Notes the current process. The socket is locked by the process that sends, so two of them never note
/// the same socket at once.
#[inline(always)]
fn note(socket: *mut c_void) {
    // SAFETY: the verifier knows the type of the argument.
    let cookie = unsafe { bpf_get_socket_cookie(socket) };
    let Some(slot) = SENDERS.get_ptr_mut(place_of(cookie)) else {
        return;
    };
    let current = bpf_get_current_pid_tgid();
    // SAFETY: a map value, aligned to eight bytes, which stays mapped. The host checks its version when it
    // reads it.
    unsafe {
        if (*slot).cookie == cookie && (*slot).process_and_thread >> 32 == current >> 32 {
            return;
        }
        let version = &raw mut (*slot).version;
        let before = version.read_volatile();
        // Another socket is being noted at this index: lookups for ours find nothing.
        if before & 1 != 0 || compare_exchange(version, before, before + 1) != before {
            return;
        }
        (&raw mut (*slot).cookie).write_volatile(cookie);
        (&raw mut (*slot).since_ns).write_volatile(bpf_ktime_get_boot_ns());
        (&raw mut (*slot).process_and_thread).write_volatile(current);
        (&raw mut (*slot).cgroup_id).write_volatile(bpf_get_current_cgroup_id());
        (&raw mut (*slot).group_and_user).write_volatile(bpf_get_current_uid_gid());
        let comm = &raw mut (*slot).comm;
        bpf_get_current_comm(comm.cast(), size_of_val(&*comm) as u32);
        fetch_add(version, 1);
    }
}
