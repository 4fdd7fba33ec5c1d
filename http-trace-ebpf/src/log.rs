//! Log messages of the programs by aya-log, if they are loaded with logging (`-vv`). Each CPU first
//! logs which kind of program runs, and then the errors that occurred, at most once per second.
//! Nothing is logged per packet. Everything logged is also counted: losses are reported by the
//! counters, not by the log.
//!
//! Without logging, the verifier sees a constant and walks none of this code.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use aya_log_ebpf::{
    macro_support::{Level, level_enabled},
    warn,
};
use http_trace_common::counter::Counter;

use crate::maps::this_cpu;

/// Minimum interval between the messages of a CPU.
const SILENCE_NS: u64 = 1_000_000_000;

/// The message for each error. The first two, without a counter, are logged at the first packet.
const WORDS: [(Option<Counter>, &str); 10] = [
    (None, "first packet; framing HTTP/1.x here"),
    (None, "first packet; the host does framing"),
    (Some(Counter::TableFull), "connection not followed: table full"),
    (Some(Counter::RingFull), "record lost: ring buffer full"),
    (Some(Counter::ClaimRefused), "segment unframed: flow in use"),
    (Some(Counter::ScratchBusy), "packet not read: no free scratch"),
    (Some(Counter::UnsureDropped), "segment dropped: too much unframed"),
    (Some(Counter::FragmentDropped), "fragment dropped: too many"),
    (Some(Counter::StepBudget), "too many steps: rest unframed"),
    (Some(Counter::LoadFailed), "cannot read bytes of a packet"),
];

/// All messages have one length, padded with spaces. aya-log copies its arguments byte by byte at
/// every call site, and a socket filter must not be larger than the memory limit of a socket
/// (net.core.optmem_max). With a single call site it fits.
const WIDTH: usize = 35;
static TEXTS: [[u8; WIDTH]; WORDS.len()] = texts();

const fn texts() -> [[u8; WIDTH]; WORDS.len()] {
    let mut texts = [[b' '; WIDTH]; WORDS.len()];
    let mut i = 0;
    while i < WORDS.len() {
        let words = WORDS[i].1.as_bytes();
        let mut at = 0;
        while at < words.len() {
            texts[i][at] = words[at];
            at += 1;
        }
        i += 1;
    }
    texts
}

/// The bit of the message for this counter; 0 if there is none.
const fn bit(counter: Counter) -> u64 {
    let mut i = 0;
    while i < WORDS.len() {
        if let Some(of) = WORDS[i].0
            && of as u32 == counter as u32
        {
            return 1 << i;
        }
        i += 1;
    }
    0
}

/// Whether the programs were loaded with logging.
#[inline(always)]
fn is_enabled() -> bool {
    level_enabled(Level::Warn)
}

/// Remembers an error until [`log_pending`] logs it.
#[inline(always)]
pub fn remember(counter: Counter) {
    let bit = bit(counter);
    if bit == 0 || !is_enabled() {
        return;
    }
    verified_remember(bit);
}

/// Implements [`remember`] once for all places that count an error: inlined at each, a program with
/// logging would exceed the memory limit of a socket.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_remember(bit: u64) -> u32 {
    if let Some(state) = this_cpu() {
        // SAFETY: a per-CPU map value. A softirq between reading and writing can lose one of two
        // messages; the error is still counted.
        unsafe { (*state).to_log |= bit };
    }
    0
}

/// Logs pending messages, after a packet on this interface.
#[inline(always)]
pub fn log_pending<const FRAMES: bool>(interface: u32) {
    if !is_enabled() {
        return;
    }
    let Some(state) = this_cpu() else {
        return;
    };
    // SAFETY: a per-CPU map value.
    unsafe {
        if (*state).logged_ns == 0 {
            (*state).to_log |= if FRAMES { 1 } else { 2 };
        }
        if (*state).to_log == 0 {
            return;
        }
    }
    verified_log_pending(interface);
}

/// Implements [`log_pending`] as a function that the verifier walks once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_log_pending(interface: u32) -> u32 {
    let Some(state) = this_cpu() else {
        return 0;
    };
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: a per-CPU map value.
    let to_log = unsafe {
        let logged_ns = (*state).logged_ns;
        if logged_ns != 0 && now_ns.wrapping_sub(logged_ns) < SILENCE_NS {
            return 0;
        }
        (*state).logged_ns = now_ns;
        core::mem::replace(&mut (*state).to_log, 0)
    };
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    for (i, text) in TEXTS.iter().enumerate() {
        if to_log >> i & 1 == 1 {
            // SAFETY: consists of strings and spaces.
            let text = unsafe { core::str::from_utf8_unchecked(text) };
            warn!((), "CPU {}, interface {}: {}", cpu, interface, text);
        }
    }
    0
}
