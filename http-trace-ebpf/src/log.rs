//! What the programs say in words, by aya-log, when they are loaded to do so (`-vv`): on each CPU once
//! what they are, and then which errors they met, at most once a second. Nothing is said per packet,
//! and what is said here is counted too: losses are told by the counters, not by this.
//!
//! Loaded without logging, the verifier sees a constant and walks none of it.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use aya_log_ebpf::{
    macro_support::{Level, level_enabled},
    warn,
};
use http_trace_common::counter::Counter;

use crate::maps::this_cpu;

/// How long a CPU is silent after it has said something.
const SILENCE_NS: u64 = 1_000_000_000;

/// What is said of an error, and at the first packet, for which no counter stands.
const WORDS: [(Option<Counter>, &str); 10] = [
    (None, "first packet; framing HTTP/1.x here"),
    (None, "first packet; the host does all framing"),
    (
        Some(Counter::TableFull),
        "a connection is not followed: the table is full",
    ),
    (
        Some(Counter::RingFull),
        "a record is lost: the ring buffer is full",
    ),
    (
        Some(Counter::ClaimRefused),
        "a segment ships unframed: its connection is held",
    ),
    (
        Some(Counter::ScratchBusy),
        "a packet is not read: no working memory is free",
    ),
    (
        Some(Counter::UnsureDropped),
        "a segment is dropped: too much ships unframed",
    ),
    (
        Some(Counter::FragmentDropped),
        "a fragment is dropped: there are too many",
    ),
    (
        Some(Counter::StepBudget),
        "too many steps: a packet's rest ships unframed",
    ),
    (
        Some(Counter::LoadFailed),
        "bytes of a packet cannot be read",
    ),
];

/// All of one length, filled up with blanks: aya-log copies what it says byte by byte at every place
/// that says something, and a program may not be larger than a socket's memory (net.core.optmem_max)
/// to be its filter. With one place for all, it is not.
const WIDTH: usize = 48;
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

/// The bit of what is said of this counter; 0 when nothing is.
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

/// Whether the programs were loaded to say something.
#[inline(always)]
fn is_enabled() -> bool {
    level_enabled(Level::Warn)
}

/// Remembers an error, so that [`tell`] says it.
#[inline(always)]
pub fn remember(counter: Counter) {
    let bit = bit(counter);
    if bit == 0 || !is_enabled() {
        return;
    }
    verified_remember(bit);
}

/// [`remember`], once for all places that count an error: with it written out at each, a program with
/// words would be larger than what a socket may hold.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_remember(bit: u64) -> u32 {
    if let Some(state) = this_cpu() {
        // SAFETY: a per-CPU map value. A softirq between reading and writing can lose one of two
        // errors, which is counted all the same.
        unsafe { (*state).to_tell |= bit };
    }
    0
}

/// Says what there is to say, after a packet on this interface.
#[inline(always)]
pub fn tell<const FRAMES: bool>(interface: u32) {
    if !is_enabled() {
        return;
    }
    let Some(state) = this_cpu() else {
        return;
    };
    // SAFETY: a per-CPU map value.
    unsafe {
        if (*state).told_ns == 0 {
            (*state).to_tell |= if FRAMES { 1 } else { 2 };
        }
        if (*state).to_tell == 0 {
            return;
        }
    }
    verified_tell(interface);
}

/// [`tell`], for the verifier to walk once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_tell(interface: u32) -> u32 {
    let Some(state) = this_cpu() else {
        return 0;
    };
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: a per-CPU map value.
    let to_tell = unsafe {
        let told_ns = (*state).told_ns;
        if told_ns != 0 && now_ns.wrapping_sub(told_ns) < SILENCE_NS {
            return 0;
        }
        (*state).told_ns = now_ns;
        core::mem::replace(&mut (*state).to_tell, 0)
    };
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    for (i, text) in TEXTS.iter().enumerate() {
        if to_tell >> i & 1 == 1 {
            // SAFETY: made of strings and blanks.
            let text = unsafe { core::str::from_utf8_unchecked(text) };
            warn!((), "CPU {}, interface {}: {}", cpu, interface, text);
        }
    }
    0
}
