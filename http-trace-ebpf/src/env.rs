//! What the kernel provides to the filter: bytes of the packet, the flow table, the ring buffer.

use core::mem::offset_of;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_NOEXIST, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_smp_processor_id, bpf_ringbuf_output},
};
use http_trace_common::{
    counter::Counter,
    filter::{self, BLOCK_BYTES, Block, Claim, Env, First, Flow, HandBack, Scratch, Syn, Verified},
    flow::FlowKey,
    record::{HEADER_LEN, RecordHeader, flag},
    walk::TUNNEL_LEN,
};

use crate::{
    insn::{add, compare_exchange, fetch_add, mask},
    maps::{EVENTS, FLOWS, HANDED_BACK, SYNS, config, count, is_own, this_cpu, wakes},
    packet::Packet,
    verified::{
        plain_ends_request_line, verified_after_syn, verified_begin_flow, verified_classify,
        verified_fill_header, verified_find_lf, verified_frame_step, verified_is_own,
        verified_learn_syn, verified_match_suffix, verified_note_close, verified_prepare_record,
        verified_remember_close, verified_take_body,
    },
};

/// Number of attempts to claim a flow that another CPU holds: about a microsecond.
const CLAIM_TRIES: u32 = 24;
/// Bytes of `Unsure` directions that a CPU ships per second beyond the budget of each flow.
const UNSURE_BYTES_PER_S: u64 = 32 << 20;
/// Bytes of IP fragment records that a CPU ships per second: a flood of fragments must not displace
/// other records for longer than one read of the ring buffer takes. Within the second they may all come
/// at once, as in a fragmented download.
const FRAGMENT_BYTES_PER_S: u64 = 16 << 20;
const SECOND_NS: u64 = 1_000_000_000;

/// The environment of one packet. Without `FRAMES` it uses only what Linux 5.8 has.
pub struct Kernel<P, const FRAMES: bool = true> {
    /// The packet.
    pub packet: P,
    /// Index of the scratch slot in use.
    pub slot: u32,
}

impl<P: Packet, const FRAMES: bool> Verified for Kernel<P, FRAMES> {
    #[inline(always)]
    fn mask(value: u32, bits: u32) -> u32 {
        mask(value, bits)
    }

    #[inline(always)]
    fn forget(block: &Block, number: u32) -> u32 {
        // SAFETY: a field of the block, always zero; volatile so that it is read each time.
        let zero = unsafe { (&raw const block.zero).read_volatile() };
        add(number, zero as u32)
    }

    #[inline(always)]
    fn find_lf(block: &Block, at: u32, end: u32) -> (u32, bool) {
        let found = verified_find_lf(block, at, end);
        (found as u32, found >> 32 != 0)
    }

    #[inline(always)]
    fn match_suffix(block: &Block, state: u8, at: u32, end: u32) -> u8 {
        verified_match_suffix(block, state.into(), at, end) as u8
    }

    #[inline(always)]
    fn classify(w0: u64, w1: u64, len: u32) -> First {
        First::from_number(verified_classify(w0, w1, len))
    }

    #[inline(always)]
    fn frame_step(s: &mut Scratch) {
        verified_frame_step(s);
    }

    #[inline(always)]
    fn take_body(s: &mut Scratch) {
        verified_take_body(s);
    }

    #[inline(always)]
    fn fill_header(s: &mut Scratch) {
        if FRAMES {
            verified_fill_header(s);
        } else {
            filter::fill_header(s);
        }
    }

    #[inline(always)]
    fn prepare_record(s: &mut Scratch, seq: u32, skip_from: u32, skip_to: u32, extra: u16) {
        if FRAMES {
            verified_prepare_record(s, seq, skip_from, skip_to, extra.into());
        } else {
            filter::prepare_record(s, seq, skip_from, skip_to, extra);
        }
    }

    #[inline(always)]
    fn begin_flow(s: &mut Scratch, place: u32) -> u32 {
        if FRAMES { verified_begin_flow(s, place) } else { filter::begin_flow::<Self>(s, place) }
    }

    #[inline(always)]
    fn learn_syn(s: &mut Scratch) -> bool {
        if FRAMES { verified_learn_syn(s) != 0 } else { filter::learn_syn(s) }
    }

    #[inline(always)]
    fn after_syn(s: &mut Scratch) -> bool {
        if FRAMES { verified_after_syn(s) != 0 } else { filter::after_syn::<Self>(s) }
    }

    #[inline(always)]
    fn note_close(s: &mut Scratch) {
        if FRAMES {
            verified_note_close(s);
        } else {
            filter::note_close(s);
        }
    }

    #[inline(always)]
    fn remember_close(s: &mut Scratch) -> bool {
        if FRAMES { verified_remember_close(s) != 0 } else { filter::remember_close(s) }
    }

    #[inline(always)]
    fn ends_request_line(&self, _block: &Block, len: u32) -> bool {
        if FRAMES {
            // Never called with the framer.
            false
        } else {
            plain_ends_request_line(self.slot, len) != 0
        }
    }
}

impl<P: Packet, const FRAMES: bool> Env for Kernel<P, FRAMES> {
    const FRAMES: bool = FRAMES;

    #[inline(always)]
    fn load(&mut self, block: &mut Block, offset: u32, len: u32) -> bool {
        let len = mask(len.wrapping_sub(1), BLOCK_BYTES - 1) + 1;
        // SAFETY: 1 to BLOCK_BYTES bytes, for which the block has room.
        unsafe { self.packet.load(offset, block.bytes.as_mut_ptr(), len) }
    }

    #[inline(always)]
    fn emit(&mut self, block: &mut Block) {
        if FRAMES {
            self.packet.emit(block);
        } else {
            emit::<false>(block, self.packet.socket());
        }
    }

    #[inline(always)]
    fn count(&mut self, counter: Counter, n: u32) {
        count(counter, u64::from(n));
    }

    #[inline(always)]
    fn is_own(&self, key: &FlowKey) -> bool {
        if FRAMES {
            verified_is_own(key) != 0
        } else {
            is_own(&key.a, key.a_port) || is_own(&key.b, key.b_port)
        }
    }

    #[inline(always)]
    fn ships_bodies(&self) -> bool {
        config().snippet.bytes != 0
    }

    #[inline(always)]
    fn body_bytes(&self, status: u32) -> u32 {
        config().snippet.of(status)
    }

    #[inline(always)]
    fn claim(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim {
        let Some(entry) = FLOWS.get_ptr_mut(key) else {
            return Claim::Missing;
        };
        let ours = our_claim();
        // SAFETY: a map value, which stays mapped until this program ends; aligned to eight bytes.
        unsafe {
            let word = &raw mut (*entry).claim;
            if !FRAMES {
                // There is no atomic exchange before Linux 5.12. Two CPUs at the same time may ship a
                // segment twice or take it for a copy. The host copes, since nothing is declared as body
                // here.
                if word.read_volatile() != 0 {
                    return Claim::Refused;
                }
                word.write_volatile(ours);
                copy_flow(flow, entry);
                return Claim::Held;
            }
            let mut found = compare_exchange(word, 0, ours);
            // On our own CPU the holder is what we interrupted: waiting would not help.
            let mut tries = 0;
            while found != 0 && found != ours && tries < CLAIM_TRIES {
                found = compare_exchange(word, 0, ours);
                tries += 1;
            }
            if found != 0 {
                return Claim::Refused;
            }
            copy_flow(flow, entry);
        }
        Claim::Held
    }

    #[inline(always)]
    fn insert(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim {
        flow.claim = our_claim();
        // By reference: a copy does not fit the stack.
        let flow: &Flow = flow;
        match FLOWS.insert(key, flow, u64::from(BPF_NOEXIST)) {
            Ok(()) => Claim::Held,
            Err(EEXIST) => Claim::Refused,
            Err(_) => Claim::Missing,
        }
    }

    #[inline(always)]
    fn release(&mut self, key: &FlowKey, flow: &Flow, delete: bool) {
        if delete {
            // A context that waits for the claim continues with the removed entry until it is freed; no
            // other context sees it.
            let _ = FLOWS.remove(key);
            return;
        }
        if let Some(entry) = FLOWS.get_ptr_mut(key) {
            // SAFETY: a map value that we hold. The claim is released last.
            unsafe {
                copy_flow(entry, flow);
                (&raw mut (*entry).claim).write_volatile(0);
            }
        }
    }

    #[inline(always)]
    fn give_up(&mut self, key: &FlowKey) {
        if let Some(entry) = FLOWS.get_ptr_mut(key) {
            // SAFETY: a map value that we hold.
            unsafe { (&raw mut (*entry).claim).write_volatile(0) };
        }
    }

    #[inline(always)]
    fn syn(&mut self, key: &FlowKey, into: &mut Syn) {
        match SYNS.get_ptr(key) {
            // SAFETY: a map value. It may be recycled while it is being read. Then the sequence number
            // is wrong, and the connection is admitted later or not at all.
            Some(syn) => unsafe { copy_words::<u32, _>(into, syn, 0) },
            None => into.valid = 0,
        }
    }

    #[inline(always)]
    fn set_syn(&mut self, key: &FlowKey, syn: &Syn) {
        let _ = SYNS.insert(key, syn, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn hand_back(&mut self, key: &FlowKey, into: &mut HandBack) -> bool {
        match HANDED_BACK.get_ptr(key) {
            Some(handed) => {
                // SAFETY: a map value. It may be recycled while it is being read. Then its generation or
                // positions do not fit, or it is as valid for the connection it belongs to.
                unsafe { copy_words::<u64, _>(into, handed, 0) };
                true
            }
            None => false,
        }
    }

    #[inline(always)]
    fn unsure_budget(&mut self, time_ns: u64, bytes: u32) -> bool {
        take_unsure_budget(time_ns, bytes)
    }

    #[inline(always)]
    fn fragment_budget(&mut self, time_ns: u64, bytes: u32) -> bool {
        let Some(state) = this_cpu() else {
            return false;
        };
        // SAFETY: a per-CPU map value, as for [`take_unsure_budget`].
        unsafe {
            if time_ns.wrapping_sub((*state).fragments_since_ns) >= SECOND_NS {
                (*state).fragments_since_ns = time_ns;
                (*state).fragment_bytes = 0;
            }
            (*state).fragment_bytes += u64::from(bytes);
            (*state).fragment_bytes <= FRAGMENT_BYTES_PER_S
        }
    }
}

/// Numbers a record and writes it to the ring buffer. `socket` is the packet's: see [`Packet::socket`].
#[inline(always)]
pub fn emit<const ATOMIC: bool>(block: &mut Block, socket: (u64, u64)) {
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let header = &mut block.header;
    (header.socket_cookie, header.cgroup_id) = socket;
    header.cpu = cpu as u16;
    if let Some(state) = this_cpu() {
        // SAFETY: a per-CPU map value. Atomic because a softirq that interrupts here would otherwise
        // give two records the same number.
        header.attempt = unsafe {
            let attempts = &raw mut (*state).attempts;
            if ATOMIC {
                fetch_add(attempts, 1) as u32
            } else {
                let before = attempts.read_volatile();
                attempts.write_volatile(before + 1);
                before as u32
            }
        };
    }
    let len =
        if header.len >= BLOCK_BYTES { BLOCK_BYTES } else { mask(header.len, BLOCK_BYTES - 1) };
    // Without the option the verifier sees a constant, so an ordinary record costs nothing extra.
    let in_tunnel = config().decap != 0 && block.tunnel.what != 0;
    let before = if in_tunnel { 0 } else { TUNNEL_LEN };
    let at = offset_of!(Block, tunnel) + before;
    // SAFETY: tunnel, header and bytes are contiguous in the block, which has that many bytes.
    let written = unsafe {
        bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            (&raw mut *block).cast::<u8>().add(at).cast(),
            (TUNNEL_LEN - before + HEADER_LEN) as u64 + u64::from(len),
            // While records keep coming the host drains by a timer: waking it for each would cost more
            // than everything else.
            if wakes() || ATOMIC && is_urgent(&block.header) {
                u64::from(BPF_RB_FORCE_WAKEUP)
            } else {
                u64::from(BPF_RB_NO_WAKEUP)
            },
        )
    };
    if written == 0 {
        count(Counter::Records, 1);
        count(Counter::RecordBytes, u64::from(len));
    } else {
        count(Counter::RingFull, 1);
        count(Counter::RingFullBytes, u64::from(len));
    }
}

/// Minimum interval between wake-ups on a CPU: each costs about as much as ten records.
const WAKE_UP_NS: u64 = 1_000_000;

/// Whether the host must see a record at once: its verdict on a head that was framed on trial lets the
/// filter skip the bodies of the connection again, and up to three bodies pass in a millisecond.
#[inline(always)]
fn is_urgent(header: &RecordHeader) -> bool {
    if !header.has(flag::TRIAL | flag::HEAD_BEGINS) {
        return false;
    }
    let Some(state) = this_cpu() else {
        return false;
    };
    // SAFETY: a per-CPU map value.
    unsafe {
        let urgent = header.time_ns.wrapping_sub((*state).woken_ns) >= WAKE_UP_NS;
        if urgent {
            (*state).woken_ns = header.time_ns;
        }
        urgent
    }
}

/// errno of an insertion whose key exists.
const EEXIST: i32 = -17;

/// The mark of this CPU in the claim of a flow.
#[inline(always)]
pub fn our_claim() -> u64 {
    // SAFETY: no arguments.
    u64::from(unsafe { bpf_get_smp_processor_id() }) + 1
}

/// Copies everything but the claim.
///
/// # Safety
/// Both must be valid and aligned.
#[inline(always)]
unsafe fn copy_flow(to: *mut Flow, from: *const Flow) {
    // SAFETY: by contract; the claim of a flow is its first word.
    unsafe { copy_words::<u64, _>(to, from, 1) }
}

/// Copies a value without its first `skip` words, word by word. The compiler turns an assignment, or a
/// plain loop, into a call of a byte loop.
///
/// # Safety
/// Both must be valid and aligned for `T` and for words. The size of `T` must be a multiple of that of a
/// word.
#[inline(always)]
unsafe fn copy_words<W: Copy, T>(to: *mut T, from: *const T, skip: usize) {
    let (to, from) = (to.cast::<W>(), from.cast::<W>());
    let mut i = skip;
    while i < size_of::<T>() / size_of::<W>() {
        // SAFETY: by contract.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
        i += 1;
    }
}

/// Implements [`Env::unsure_budget`]. One function for all callers, since the size of a socket filter is
/// limited.
#[inline(never)]
fn take_unsure_budget(time_ns: u64, bytes: u32) -> bool {
    let Some(state) = this_cpu() else {
        return false;
    };
    // SAFETY: a per-CPU map value. A softirq in between can only make the budget slightly larger.
    unsafe {
        if time_ns.wrapping_sub((*state).unsure_since_ns) >= SECOND_NS {
            (*state).unsure_since_ns = time_ns;
            (*state).unsure_bytes = 0;
        }
        (*state).unsure_bytes += u64::from(bytes);
        (*state).unsure_bytes <= UNSURE_BYTES_PER_S
    }
}
