//! The eBPF programs: entry points, maps and the kernel's side of the filter, and nothing of the
//! protocol. On any other target this is an empty program, so that the workspace's checks cover it.
//!
//! # Layout
//! - `entry` has one entry point per hook, and says what the kernel must be for it.
//! - `packet` reads an skb or an XDP buffer; `env` gives that, the flow table and the ring buffer
//!   to `http_trace_common::filter`.
//! - `maps` are the maps and the globals the loader sets; `scratch` is working memory.
//! - `sender` notes which process sends on a socket; it sees no packet.
//! - `log` is what they say in words, when they are asked to.
//! - `verified` are the parts that the verifier walks by themselves.
//! - `insn` are single instructions that the compiler has no name for.
//!
//! The programs call no helper that changes a packet, a route or a socket.
#![cfg_attr(
    target_arch = "bpf",
    no_std,
    no_main,
    no_builtins,
    feature(asm_experimental_arch)
)]

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

/// Never reached: nothing in the programs panics, and the verifier would refuse the loop.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are for programs under the GPL only; this project's licences are compatible.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
