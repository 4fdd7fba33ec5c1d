//! The filter without a verifier: the parts that the kernel verifies as separate functions are
//! ordinary calls.

use super::{
    admit::{begin_flow, ends_request_line},
    env::{Env, Verified, find_lf, match_suffix},
    first::{First, classify},
    frame::{frame_step, take_body},
    known::note_close,
    ship::{fill_header, prepare_record},
    state::{Block, Scratch},
    syn::{after_syn, learn_syn, remember_close},
};

/// An environment without a verifier; implements [`Verified`].
pub trait Unverified: Sized {}

impl<T: Unverified> Verified for T {
    #[inline(always)]
    fn mask(value: u32, bits: u32) -> u32 {
        value & bits
    }
    #[inline(always)]
    fn forget(_block: &Block, number: u32) -> u32 {
        number
    }
    fn frame_step(s: &mut Scratch) {
        frame_step::<Self>(s);
    }
    fn fill_header(s: &mut Scratch) {
        fill_header(s);
    }
    fn prepare_record(s: &mut Scratch, seq: u32, skip_from: u32, skip_to: u32, extra: u16) {
        prepare_record(s, seq, skip_from, skip_to, extra);
    }
    fn take_body(s: &mut Scratch) {
        take_body(s);
    }
    fn begin_flow(s: &mut Scratch, place: u32) -> u32
    where
        Self: Env,
    {
        begin_flow::<Self>(s, place)
    }
    fn learn_syn(s: &mut Scratch) -> bool {
        learn_syn(s)
    }
    fn after_syn(s: &mut Scratch) -> bool
    where
        Self: Env,
    {
        after_syn::<Self>(s)
    }
    fn note_close(s: &mut Scratch) {
        note_close(s);
    }
    fn remember_close(s: &mut Scratch) -> bool {
        remember_close(s)
    }
    #[inline(always)]
    fn find_lf(block: &Block, at: u32, end: u32) -> (u32, bool) {
        find_lf::<Self>(block, at, end)
    }
    #[inline(always)]
    fn match_suffix(block: &Block, state: u8, at: u32, end: u32) -> u8 {
        match_suffix::<Self>(block, state, at, end)
    }
    #[inline(always)]
    fn classify(w0: u64, w1: u64, len: u32) -> First {
        classify(w0, w1, len)
    }
    fn ends_request_line(&self, block: &Block, len: u32) -> bool {
        ends_request_line::<Self>(block, len)
    }
}
