//! Working memory for one packet, which is too large for the 512 bytes of stack.
//!
//! Each CPU has four slots, claimed by atomic exchange: softirqs that run other programs on the
//! same CPU can interrupt a program in process context (cgroup_skb egress).

use http_trace_common::{
    filter::{Context, Scratch},
    walk::Segment,
};

use crate::{insn::exchange, maps::SCRATCH};

/// Number of contexts that can be active on one CPU at the same time.
pub const SLOTS: u32 = 4;

/// Working memory for one packet.
#[repr(C)]
pub struct Slot {
    /// 1 while in use.
    claim: u64,
    /// Working memory of the filter.
    pub scratch: Scratch,
    /// The current segment.
    pub segment: Segment,
    /// Where and when it was seen.
    pub context: Context,
    /// Its VLANs, if they are reported.
    pub tags: u32,
}

/// A slot that is ours until it is released, and its index.
pub struct Claimed(pub *mut Slot, pub u32);

impl Claimed {
    /// Claims a free slot of this CPU. Without `ATOMIC`, on kernels without atomic exchange (before
    /// Linux 5.12), a read followed by a write is enough: a program that interrupts in between has
    /// released its slot before this one continues.
    #[inline(always)]
    pub fn new<const ATOMIC: bool>() -> Option<Self> {
        for index in 0..SLOTS {
            let slot = SCRATCH.get_ptr_mut(index)?;
            // SAFETY: the slot is a map value: valid and aligned to eight bytes.
            unsafe {
                let claim = &raw mut (*slot).claim;
                let was = if ATOMIC { exchange(claim, 1) } else { claim.read_volatile() };
                if was == 0 {
                    claim.write_volatile(1);
                    return Some(Claimed(slot, index));
                }
            }
        }
        None
    }

    /// Releases the slot.
    #[inline(always)]
    pub fn release(self) {
        // SAFETY: as in `new`; the store is volatile so that it stays last.
        unsafe { (&raw mut (*self.0).claim).write_volatile(0) };
    }
}
