//! The interface between the filter and its environment, and how the filter reads a block.

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

/// Result of looking up and claiming a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The flow is claimed; its state is in the scratch.
    Held,
    /// Another context holds the flow.
    Refused,
    /// There is no such flow (on insertion: no room for it).
    Missing,
}

/// Hints for the kernel's verifier, and the parts of the filter that it verifies as separate
/// functions, so that it walks each of their paths once and not again for every path leading to
/// them. Without a verifier, [`super::Unverified`] implements all of it.
pub trait Verified: Sized {
    /// `value & bits`, in a form that the verifier sees and the compiler keeps. `bits + 1` must be
    /// a power of two.
    fn mask(value: u32, bits: u32) -> u32;
    /// Returns the same number, as a value unknown to the verifier; see [`Window::forget`]. The
    /// block provides a zero that the verifier does not know to be one.
    fn forget(block: &Block, number: u32) -> u32;
    /// [`super::frame_step`].
    fn frame_step(s: &mut Scratch);
    /// [`super::fill_header`].
    fn fill_header(s: &mut Scratch);
    /// [`super::prepare_record`].
    fn prepare_record(s: &mut Scratch, seq: u32, skip_from: u32, skip_to: u32, extra: u16);
    /// [`super::take_body`].
    fn take_body(s: &mut Scratch);
    /// [`super::begin_flow`].
    fn begin_flow(s: &mut Scratch, place: u32) -> u32
    where
        Self: Env;
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

/// What the filter needs from its environment.
pub trait Env: Verified {
    /// Whether the framer runs here. On kernels that cannot loop over a segment (before Linux 5.17)
    /// it does not: each direction is `Unsure` from its first byte on, all of it ships within the
    /// budget for such directions, nothing is declared as body, and the host does all the framing.
    const FRAMES: bool = true;
    /// Copies `len` (1 to [`BLOCK_BYTES`]) bytes of the frame at `offset` to the start of the
    /// block.
    fn load(&mut self, block: &mut Block, offset: u32, len: u32) -> bool;
    /// Ships the header of the block and its first `header.len` bytes. Fills in `attempt`, `cpu`
    /// and what the hook knows about the socket. The environment counts failures.
    fn emit(&mut self, block: &mut Block);
    /// Adds to a counter.
    fn count(&mut self, counter: Counter, n: u32);
    /// Whether one end of a connection is a socket of the agent itself. Called before the first
    /// record of a connection.
    fn is_own(&self, _key: &FlowKey) -> bool {
        false
    }
    /// Whether the body of any response ships ([`crate::config::Snippet`]).
    fn ships_bodies(&self) -> bool {
        false
    }
    /// Number of bytes that ship of the body of a response with this status code.
    fn body_bytes(&self, _status: u32) -> u32 {
        0
    }
    /// Looks up a flow, claims it and copies its state.
    fn claim(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim;
    /// Inserts a flow and claims it. `Refused` if it exists already, `Missing` if there is no room.
    fn insert(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim;
    /// Writes a claimed flow back, or deletes it, and releases the claim.
    fn release(&mut self, key: &FlowKey, flow: &Flow, delete: bool);
    /// Releases a claimed flow unchanged ([`crate::config::FilterConfig::no_write_back`]).
    fn give_up(&mut self, _key: &FlowKey) {}
    /// Reads what the SYNs of the tuple said; nothing is valid if none was seen.
    fn syn(&mut self, key: &FlowKey, into: &mut Syn);
    /// Remembers a SYN.
    fn set_syn(&mut self, key: &FlowKey, syn: &Syn);
    /// Reads the host's hand-back for a connection whose framing was lost, if there is one.
    fn hand_back(&mut self, key: &FlowKey, into: &mut HandBack) -> bool;
    /// Whether `bytes` more of `Unsure` directions may ship at this time within the budget shared by all flows.
    fn unsure_budget(&mut self, time_ns: u64, bytes: u32) -> bool;
    /// The same for IP fragments, including record headers, within a budget of their own.
    fn fragment_budget(&mut self, time_ns: u64, bytes: u32) -> bool;
}

/// What a hook knows about a segment besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Time at which it was seen: CLOCK_BOOTTIME ns in the kernel, Unix ns in a replay.
    pub time_ns: u64,
    /// Index of the interface; 0 when the hook has none.
    pub interface: u32,
    /// The frame's length on the wire.
    pub wire_len: u32,
    /// Whether the segment leaves the host.
    pub egress: bool,
    /// The hook that saw it.
    pub hook: Hook,
}

impl Context {
    /// Where it was seen.
    #[inline(always)]
    pub const fn place(&self) -> u32 {
        place(self.interface, self.hook, self.egress)
    }
}

/// A hook of an interface, in one direction: [`super::state::Side::place`]. The number of an interface is below 2^28.
#[inline(always)]
pub const fn place(interface: u32, hook: Hook, egress: bool) -> u32 {
    interface << 4 | (hook as u32) << 1 | egress as u32
}

/// The interface of a [`place`].
#[inline(always)]
pub(super) const fn interface_of(place: u32) -> u32 {
    place >> 4
}

/// The bytes of a block as the framer reads them; every index is masked.
pub(crate) struct View<'a, E> {
    block: &'a Block,
    env: core::marker::PhantomData<E>,
}

impl<'a, E: Verified> View<'a, E> {
    #[inline(always)]
    pub(super) fn new(block: &'a Block) -> Self {
        View { block, env: core::marker::PhantomData }
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
        match self.block.bytes.get(at..at + 8).and_then(<[u8]>::first_chunk::<8>) {
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
