//! The eBPF programs: entry points, maps and the kernel's side of the filter, without protocol
//! logic. On any other target this is an empty program, so that the workspace's checks cover it.
//!
//! # Layout
//! - `entry`: one entry point per hook, with the kernel version that it needs.
//! - `packet`: reads an skb or an XDP buffer; `env`: gives that, the flow table and the ring buffer
//!   to `http_trace_common::filter`.
//! - `maps`: the maps, and the globals that the loader sets; `scratch`: working memory.
//! - `sender`: notes which process sends on a socket; it sees no packet.
//! - `log`: log messages, if enabled.
//! - `verified`: parts that the verifier checks as separate functions.
//! - `insn`: single instructions that the compiler has no intrinsic for.
//!
//! The programs call no helper that changes a packet, a route or a socket.
#![cfg_attr(target_arch = "bpf", no_std, no_main, no_builtins, feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod entry;
#[cfg(target_arch = "bpf")]
mod env;
#[cfg(target_arch = "bpf")]
mod insn;
#[cfg(target_arch = "bpf")]
mod log;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod scratch;
#[cfg(target_arch = "bpf")]
mod sender;
#[cfg(target_arch = "bpf")]
mod verified;

/// Never reached: nothing in the programs panics, and the verifier would reject the loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are only available to programs under the GPL; this project's licences are
/// compatible.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
