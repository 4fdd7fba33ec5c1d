//! The decision per segment: which part of it the host must see.
//!
//! The same code runs at every hook in the kernel and, in a replay that asks for it, on the host. It may
//! skip only what the framing proves to be body, copies of what it has handled, connections that have not
//! begun a message, opaque ones, and what the config excludes. Everything else that it does not
//! understand ships: an error here can cost bytes, but never truth.
//!
//! [`begin`] examines the segment and the flow, [`step`] is called until it returns `false`, and
//! [`finish`] writes the flow back. The kernel drives `step` with `bpf_loop`, the host with `while`.
//! Without the framer ([`Env::FRAMES`]) [`raw_step`] replaces `step`: at most [`RAW_STEPS`] of them ship
//! a segment, and [`drop_rest`] counts what is left of a larger one.
//!
//! IP fragments take another path: [`begin_fragment`] and [`fragment_step`].

mod admit;
mod env;
mod first;
mod fragment;
mod frame;
mod inside;
mod known;
mod raw;
mod resync;
mod segment;
mod ship;
mod state;
mod steps;
pub mod sum;
mod syn;
mod unverified;

pub use admit::{begin_flow, ends_request_line};
pub use env::{Claim, Context, Env, Verified, find_lf, match_suffix, place};
pub use first::{First, classify};
pub use fragment::{FRAGMENT_STEPS, begin_fragment, fragment_step};
pub use frame::{frame_step, take_body};
pub use inside::{Inside, may_settle, skip_inside};
pub use known::note_close;
pub use raw::{drop_rest, raw as raw_step};
pub use ship::{fill_header, prepare_record};
pub use state::{
    BLOCK_BYTES, Block, Continue, Flow, HandBack, Handed, Scratch, Side, Syn, handed, held, met,
    mode, side_flag, unreported,
};
pub use steps::step;
pub use syn::{SYN_AGAIN_MS, after_syn, learn_syn, remember_close};
pub use unverified::Unverified;

use crate::{
    config::FilterConfig,
    counter::Counter,
    flow::seq_distance,
    record::flag,
    walk::{Segment, tcp_flag},
};
use segment::{followed, prepare};
use ship::{emit_position, report_other, ship_end, ship_raw, ship_start};
use state::side;

/// Number of steps that ship a segment of 128 KiB as it is: its blocks, one block that is cut because
/// only part of it is new, and the ends. Segments of 93 KiB were seen leaving by lo, which are split only
/// after the hook.
pub const RAW_STEPS: u32 = 128 / (BLOCK_BYTES >> 10) + 4;

/// Examines a segment: limits, SYNs, admission, and which part is new. Returns `true` if [`step`] must be
/// called; [`finish`] must be called in any case.
#[inline(always)]
pub fn begin<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    segment: &Segment,
    context: &Context,
) -> Continue {
    s.held = held::NOT;
    s.delete = 0;
    s.end = segment.payload_len;
    let control = segment.flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST);
    if s.end == 0 && control == 0 {
        return false;
    }
    if segment.is_refused() {
        env.count(Counter::WithoutAck, 1);
        return false;
    }
    if !followed(config, &segment.key) {
        env.count(Counter::Excluded, 1);
        return false;
    }
    prepare::<E>(s, config, segment, context);
    if control & tcp_flag::SYN != 0 {
        syn::note_syn(s, env);
    }
    match env.claim(&s.key, &mut s.flow) {
        Claim::Held => {
            s.held = held::FLOW;
            let goes_on = known::known_flow(s, env, config, segment, context);
            let closes = control & (tcp_flag::FIN | tcp_flag::RST) != 0;
            if E::FRAMES && (goes_on || closes || s.unreported == unreported::END) {
                report_other(s, env);
            }
            goes_on
        }
        Claim::Refused => {
            env.count(Counter::ClaimRefused, 1);
            ship_raw::<E>(s);
            s.held = held::REFUSED;
            if s.end > 0 {
                // The context that holds the flow may not have shipped its first record yet.
                env.syn(&s.key, &mut s.syn);
                if s.syn.begins(segment.direction, s.seq) {
                    s.record_flags |= u32::from(flag::STREAM_BEGINS);
                }
                ship_start(s, env);
            }
            true
        }
        Claim::Missing => {
            if control & tcp_flag::RST != 0 {
                syn::note_refusal(s, env, segment);
            }
            if s.end == 0 {
                return false;
            }
            admit::admit(s, env, config, context)
        }
    }
}

/// Writes the flow back and ships what still has to be reported.
#[inline(always)]
pub fn finish<E: Env>(s: &mut Scratch, env: &mut E, config: &FilterConfig) {
    if s.held == held::NOT {
        return;
    }
    let closing = (s.tcp_flags as u8) & (tcp_flag::FIN | tcp_flag::RST) != 0;
    if s.held == held::REFUSED {
        if closing {
            ship_end(s, env);
        }
        return;
    }
    let (end_unreported, begins) =
        (s.unreported == unreported::END, s.unreported == unreported::BEGINNING);
    // After a possible RST, segments of the other end neither confirm nor disprove it. The host waits,
    // but must not wait long without a record.
    let [a, b] = &s.flow.sides;
    let claimed = E::FRAMES && (a.flags | b.flags) & side_flag::RST != 0;
    let moment = (s.time_ns >> 28) as u16;
    let continues = claimed && s.flow.reported_at != moment;
    if continues {
        s.flow.reported_at = moment;
    }
    let side = side(s);
    let is_behind = side.reported != side.next;
    // A FIN that arrived before the body it ends was reported already.
    let ended = end_unreported || continues || side.flags & side_flag::FIN != 0;
    // Report the position in a long body well before its sequence numbers wrap.
    let long = seq_distance(side.reported, side.next) > 1 << 29;
    if s.held == held::FLOW && s.delete < 2 && (closing || (ended && is_behind) || long || begins) {
        if !begins {
            // `seq` is not that of the SYN.
            s.record_flags &= !u32::from(flag::SYN);
        }
        emit_position::<E>(s, env);
    }
    if s.heads > 1 {
        env.count(Counter::SkbSeveralHeads, 1);
    }
    if s.delete == 1 {
        if E::FRAMES && E::remember_close(s) {
            env.set_syn(&s.key, &s.syn);
        } else {
            // Without the framer it is unknown whether the connection is between exchanges. It stays
            // until it is idle or a SYN begins another.
            s.delete = 0;
        }
    }
    if s.delete != 0 {
        env.count(Counter::FlowsClosed, 1);
    }
    if config.no_write_back == 0 {
        env.release(&s.key, &s.flow, s.delete != 0);
    } else {
        env.give_up(&s.key);
    }
}
