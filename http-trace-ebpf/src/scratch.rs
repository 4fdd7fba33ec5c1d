//! Working memory of one packet: too large for the 512 bytes of stack.
//!
//! Each CPU has four slots, claimed by exchange: a program in process context (cgroup_skb egress)
//! is interrupted by softirqs that run others on the same CPU.

use http_trace_common::{
    filter::{Context, Scratch},
    walk::Segment,
};

use crate::{insn::exchange, maps::SCRATCH};

/// How many contexts of one CPU can be at work at once.
pub const SLOTS: u32 = 4;

/// One packet's working memory.
#[repr(C)]
pub struct Slot {
    /// 1 while in use.
    claim: u64,
    /// The filter's.
    pub scratch: Scratch,
    /// The segment at hand.
    pub segment: Segment,
    /// Where and when it was seen.
    pub context: Context,
    /// Its VLANs, where they are told.
    pub tags: u32,
}

/// A slot that is ours until it is released, and its index.
pub struct Claimed(pub *mut Slot, pub u32);

impl Claimed {
    /// A free slot of this CPU. Without `ATOMIC`, where the kernel has no exchange (before Linux
    /// 5.12), reading and writing must do: what interrupts us in between has given back what it
    /// took when we go on.
    #[inline(always)]
    pub fn new<const ATOMIC: bool>() -> Option<Self> {
        for index in 0..SLOTS {
            let slot = SCRATCH.get_ptr_mut(index)?;
            // SAFETY: the slot is a map value: valid and aligned to eight bytes.
            unsafe {
                let claim = &raw mut (*slot).claim;
                let was = if ATOMIC {
                    exchange(claim, 1)
                } else {
                    claim.read_volatile()
                };
                if was == 0 {
                    claim.write_volatile(1);
                    return Some(Claimed(slot, index));
                }
            }
        }
        None
    }

    /// Gives it back.
    #[inline(always)]
    pub fn release(self) {
        // SAFETY: as in `new`; the store is volatile so that it stays last.
        unsafe { (&raw mut (*self.0).claim).write_volatile(0) };
    }
}
