//! What the filter asks of the place it runs in, and how it reads a block.

use super::{
    first::First,
    state::{BLOCK_BYTES, Block, Flow, HandBack, Scratch, Syn},
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

/// Hints for the kernel's verifier, and the parts of the filter that it verifies by themselves, so
/// that it walks each of their paths once and not again for every path before them. Where there is no
/// verifier, [`super::Unverified`] provides all of it.
pub trait Verified: Sized {
    /// `value & bits` in a form that the verifier sees and the compiler keeps. `bits + 1` is a
    /// power of two.
    fn mask(value: u32, bits: u32) -> u32;
    /// The same number, of which the verifier knows nothing any more; see [`Window::forget`]. The
    /// block lends a zero that the verifier does not know for one.
    fn forget(block: &Block, number: u32) -> u32;
    /// [`super::frame_step`].
    fn frame_step(s: &mut Scratch);
    /// [`super::fill_header`].
    fn fill_header(s: &mut Scratch);
    /// [`super::prepare_record`].
    fn prepare_record(s: &mut Scratch, seq: u32, skip_from: u32, skip_to: u32, extra: u16);
    /// [`super::take_body`].
    fn take_body(s: &mut Scratch);
    /// [`super::learn_syn`].
    fn learn_syn(s: &mut Scratch) -> bool;
    /// [`super::after_syn`].
    fn after_syn(s: &mut Scratch) -> bool
    where
        Self: Env;
    /// [`super::note_close`].
    fn note_close(s: &mut Scratch);
    /// [`super::remember_close`].
    fn remember_close(s: &mut Scratch) -> bool;
    /// [`find_lf`].
    fn find_lf(block: &Block, at: u32, end: u32) -> (u32, bool);
    /// [`match_suffix`].
    fn match_suffix(block: &Block, state: u8, at: u32, end: u32) -> u8;
    /// [`super::classify`].
    fn classify(w0: u64, w1: u64, len: u32) -> First;
    /// [`super::ends_request_line`].
    fn ends_request_line(&self, block: &Block, len: u32) -> bool;
}

/// What the filter needs of the place it runs in.
pub trait Env: Verified {
    /// Whether the framer runs here. Without it, in kernels that cannot loop over a segment
    /// (before Linux 5.17), each direction is `Unsure` from its first byte on: all of it ships
    /// within the budget of such, nothing is declared to be body, and the host does all framing.
    const FRAMES: bool = true;
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

impl<'a, E: Verified> View<'a, E> {
    #[inline(always)]
    pub(super) fn new(block: &'a Block) -> Self {
        View {
            block,
            env: core::marker::PhantomData,
        }
    }
}

impl<E: Verified> Window for View<'_, E> {
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
    #[inline(always)]
    fn match_suffix(&self, state: u8, at: u32, end: u32) -> u8 {
        E::match_suffix(self.block, state, at, end)
    }
}

/// [`framer::find_lf`] over a block.
#[inline(always)]
pub fn find_lf<E: Verified>(block: &Block, at: u32, end: u32) -> (u32, bool) {
    framer::find_lf(&View::<E>::new(block), at, end)
}

/// [`framer::match_suffix`] over a block.
#[inline(always)]
pub fn match_suffix<E: Verified>(block: &Block, state: u8, at: u32, end: u32) -> u8 {
    framer::match_suffix(&View::<E>::new(block), state, at, end)
}
