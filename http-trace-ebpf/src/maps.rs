//! The maps, with sizes that the loader replaces, and the globals it sets.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{HashMap, PerCpuArray, RingBuf},
};
use http_trace_common::{config::FilterConfig, counter, counter::Counter, flow::FlowKey};

use crate::{insn::opaque, scratch::Slot};

/// Records for the host. The loader sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// One count per [`Counter`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT as u32, 0);

/// Working memory; see [`crate::scratch`].
#[map]
pub static SCRATCH: PerCpuArray<Slot> = PerCpuArray::with_max_entries(crate::scratch::SLOTS, 0);

/// Connections that are followed. Without preallocation, so that it costs what it holds.
#[map]
pub static FLOWS: HashMap<FlowKey, [u64; 12]> =
    HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// The limits. The loader replaces it before the program is verified.
#[unsafe(no_mangle)]
static CONFIG: FilterConfig = FilterConfig::DEFAULT;

/// What the loader set.
#[inline(always)]
pub fn config() -> &'static FilterConfig {
    // SAFETY: a valid static; `opaque` only hides its initial value from the compiler.
    unsafe { &*opaque(&raw const CONFIG) }
}

/// Adds to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter, n: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU value. Another program that interrupts this one may lose an increment
        // of ours, never corrupt it.
        unsafe { *value = (*value).wrapping_add(n) };
    }
}
