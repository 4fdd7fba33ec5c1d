//! What the filter asks of the place it runs in, and how it reads a block.

use super::{
    BLOCK_BYTES, Block, Flow, HandBack, Scratch, Syn, after_syn, ends_request_line, fill_header,
    frame_step, learn_syn, prepare_record, take_body,
};
use crate::{
    counter::Counter,
    flow::FlowKey,
    framer::{self, Window},
    record::Hook,
};

/// What came of asking for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours; its state is in the scratch.
    Held,
    /// Somebody else works on it.
    Refused,
    /// There is no such flow (or, for an insertion, no room for it).
    Missing,
}

/// What the filter needs of the place it runs in.
pub trait Env {
    /// Whether the framer runs here. Without it, in kernels that cannot loop over a segment
    /// (before Linux 5.17), each direction is `Unsure` from its first byte on: all of it ships
    /// within the budget of such, nothing is declared to be body, and the host does all framing.
    const FRAMES: bool = true;
    /// `value & bits` in a form that the verifier sees and the compiler keeps. `bits + 1` is a
    /// power of two.
    fn mask(value: u32, bits: u32) -> u32;
    /// The same number, of which the kernel's verifier knows nothing any more; see
    /// [`Window::forget`]. The block lends a zero that the verifier does not know for one.
    fn forget(_block: &Block, number: u32) -> u32 {
        number
    }
    /// Calls [`frame_step`]; in the kernel as a function that is verified by itself.
    fn frame_step(&mut self, s: &mut Scratch)
    where
        Self: Sized,
    {
        frame_step::<Self>(s);
    }
    /// Calls [`fill_header`]; in the kernel as a function that is verified by itself.
    fn fill_header(&mut self, s: &mut Scratch) {
        fill_header(s);
    }
    /// Calls [`prepare_record`]; in the kernel as a function that is verified by itself.
    fn prepare_record(
        &mut self,
        s: &mut Scratch,
        seq: u32,
        skip_from: u32,
        skip_to: u32,
        extra: u16,
    ) {
        prepare_record(s, seq, skip_from, skip_to, extra);
    }
    /// Calls [`take_body`]; in the kernel as a function that is verified by itself.
    fn take_body(&mut self, s: &mut Scratch) -> bool {
        take_body(s)
    }
    /// Calls [`learn_syn`]; in the kernel as a function that is verified by itself.
    fn learn_syn(&mut self, s: &mut Scratch) -> bool {
        learn_syn(s)
    }
    /// Calls [`after_syn`]; in the kernel as a function that is verified by itself.
    fn after_syn(&mut self, s: &mut Scratch) -> bool
    where
        Self: Sized,
    {
        after_syn::<Self>(s)
    }
    /// Calls [`find_lf`]; in the kernel as a function that is verified by itself.
    #[inline(always)]
    fn find_lf(block: &Block, at: u32, end: u32) -> (u32, bool)
    where
        Self: Sized,
    {
        find_lf::<Self>(block, at, end)
    }
    /// Calls [`ends_request_line`]; in the kernel as a function that is verified by itself.
    fn ends_request_line(&self, block: &Block, len: u32) -> bool
    where
        Self: Sized,
    {
        ends_request_line::<Self>(block, len)
    }
    /// Copies `len` (1 to [`BLOCK_BYTES`]) bytes of the frame from `offset` to the block's start.
    fn load(&mut self, block: &mut Block, offset: u32, len: u32) -> bool;
    /// Ships the block's header and its first `header.len` bytes; fills in `attempt`, `cpu` and
    /// what the hook knows of the socket. A failure is counted by the environment.
    fn emit(&mut self, block: &mut Block);
    /// Adds to a counter.
    fn count(&mut self, counter: Counter, n: u32);
    /// Whether one end of a connection is a socket of the agent's own. Asked where something would
    /// be told of a connection for the first time.
    fn is_own(&self, _key: &FlowKey) -> bool {
        false
    }
    /// Whether any response's body ships ([`crate::config::Snippet`]).
    fn ships_bodies(&self) -> bool {
        false
    }
    /// How many bytes of the body of a response with this status code ship.
    fn body_bytes(&self, _status: u32) -> u32 {
        0
    }
    /// Looks a flow up, claims it and copies its state.
    fn claim(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim;
    /// Inserts a flow, claimed, unless there is one (`Refused`) or no room (`Missing`).
    fn insert(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim;
    /// Writes a claimed flow back, or deletes it, and releases it.
    fn release(&mut self, key: &FlowKey, flow: &Flow, delete: bool);
    /// Releases a claimed flow as it was before ([`FilterConfig::no_write_back`]).
    fn give_up(&mut self, _key: &FlowKey) {}
    /// What the tuple's SYNs said; nothing valid when none was seen.
    fn syn(&mut self, key: &FlowKey, into: &mut Syn);
    /// Remembers a SYN.
    fn set_syn(&mut self, key: &FlowKey, syn: &Syn);
    /// What the host handed back of a connection whose framing was lost, if anything.
    fn hand_back(&mut self, key: &FlowKey, into: &mut HandBack) -> bool;
    /// Whether `bytes` more of `Unsure` directions may ship within the budget all flows share.
    fn unsure_budget(&mut self, bytes: u32) -> bool;
    /// Whether `bytes` more of IP fragments, records' headers included, may ship within the budget
    /// for them.
    fn fragment_budget(&mut self, bytes: u32) -> bool;
}

/// What a hook knows of a segment besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// When it was seen: CLOCK_BOOTTIME ns in the kernel, Unix ns in a replay.
    pub time_ns: u64,
    /// Index of the interface; 0 when the hook has none.
    pub interface: u32,
    /// The frame's length on the wire.
    pub wire_len: u32,
    /// Whether it leaves the host.
    pub egress: bool,
    /// Where it was seen.
    pub hook: Hook,
}

/// A block's bytes under the framer's eye, every index masked.
pub(crate) struct View<'a, E> {
    block: &'a Block,
    env: core::marker::PhantomData<E>,
}

impl<'a, E: Env> View<'a, E> {
    #[inline(always)]
    pub(super) fn new(block: &'a Block) -> Self {
        View {
            block,
            env: core::marker::PhantomData,
        }
    }
}

impl<E: Env> Window for View<'_, E> {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        let at = E::mask(at, BLOCK_BYTES - 1) as usize;
        self.block.bytes.get(at).copied().unwrap_or(0)
    }
    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let at = E::mask(at, BLOCK_BYTES - 1) as usize;
        match self
            .block
            .bytes
            .get(at..at + 8)
            .and_then(<[u8]>::first_chunk::<8>)
        {
            Some(word) => u64::from_le_bytes(*word),
            None => 0,
        }
    }
    #[inline(always)]
    fn forget(&self, number: u32) -> u32 {
        E::forget(self.block, number)
    }
    #[inline(always)]
    fn find_lf(&self, at: u32, end: u32) -> (u32, bool) {
        E::find_lf(self.block, at, end)
    }
}

/// [`framer::find_lf`] over a block.
#[inline(always)]
pub fn find_lf<E: Env>(block: &Block, at: u32, end: u32) -> (u32, bool) {
    framer::find_lf(&View::<E>::new(block), at, end)
}
