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
}

/// A slot that is ours until it is dropped.
pub struct Claimed(pub *mut Slot);

impl Claimed {
    /// A free slot of this CPU.
    #[inline(always)]
    pub fn new() -> Option<Self> {
        for index in 0..SLOTS {
            let slot = SCRATCH.get_ptr_mut(index)?;
            // SAFETY: the slot is a map value: valid and aligned to eight bytes.
            if unsafe { exchange(&raw mut (*slot).claim, 1) } == 0 {
                return Some(Claimed(slot));
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
