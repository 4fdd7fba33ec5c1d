//! The kernel's filter, run on the host: before the judge in a replay that asks for it, and against the
//! kernel's own program in tests.
//!
//! It provides the environment of [`http_trace_common::filter`] and must add no decisions: a flow table,
//! a table of SYNs and counters, all bounded like the kernel's maps.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use bytemuck::Zeroable;
use http_trace_common::{
    config::{FilterConfig, Snippet},
    counter::{self, Counter},
    filter::{
        self, Block, Claim, Context, Env, Flow, HandBack, Inside, RAW_STEPS, Scratch, Syn,
        Unverified,
    },
    flow::{Address, FlowKey},
    record::Record,
    walk::{Segment, Tunnel, tcp_flag},
};
use lru::LruCache;

use crate::crowd::{self, Doing, Entry};

/// Limit of connections that are followed, as in the kernel.
const MAX_FLOWS: usize = 65_536;

/// Limit of SYNs that are remembered, as in the kernel.
const MAX_SYNS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Limit of hand-backs that wait for their flow.
const MAX_HANDED_BACK: usize = 1024;

/// Faults to inject, so that tests can show that none of them causes a false event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// One in this many claims is refused; 0 for never.
    pub refuse_claim_every: u32,
    /// Before one in this many segments, its flow is deleted; 0 for never.
    pub forget_flow_every: u32,
    /// One in this many records is lost; 0 for never.
    pub lose_record_every: u32,
    /// One in this many times, the budget of `Unsure` directions is spent; 0 for never.
    pub spend_budget_every: u32,
    /// For one in this many segments, the CPU's scratch memory is in use, so the segment is not looked
    /// at; 0 for never.
    pub scratch_busy_every: u32,
}

#[derive(Debug)]
pub struct HostFilter {
    pub config: FilterConfig,
    frames: bool,
    scratch: Box<Scratch>,
    tables: Tables,
}

#[derive(Debug)]
struct Tables {
    flows: HashMap<FlowKey, Flow, foldhash::fast::RandomState>,
    syns: LruCache<FlowKey, Syn>,
    handed_back: HashMap<FlowKey, HandBack, foldhash::fast::RandomState>,
    counters: [u64; counter::COUNT],
    attempt: u32,
    faults: Faults,
    turn: u32,
    own: HashSet<(Address, u16), foldhash::fast::RandomState>,
}

impl HostFilter {
    /// A filter with the kernel's default table sizes.
    pub fn new(config: FilterConfig) -> Self {
        HostFilter {
            config,
            frames: true,
            scratch: Box::new(Scratch::zeroed()),
            tables: Tables {
                flows: HashMap::default(),
                syns: LruCache::sparse(MAX_SYNS),
                handed_back: HashMap::default(),
                counters: [0; counter::COUNT],
                attempt: 0,
                faults: Faults::default(),
                turn: 0,
                own: HashSet::default(),
            },
        }
    }

    /// The filter for kernels that cannot frame: whole connections ship.
    pub fn without_framing(config: FilterConfig) -> Self {
        HostFilter { frames: false, ..Self::new(config) }
    }

    /// Excludes an endpoint of the agent's own, as the kernel's table of them does.
    pub fn exclude(&mut self, address: Address, port: u16) {
        self.tables.own.insert((address, port));
    }

    /// Injects faults from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.tables.faults = faults;
    }

    /// Passes `frame`, in which `segment` was found, to the filter; `emit` gets what it ships.
    pub fn push(
        &mut self,
        frame: &[u8],
        segment: &Segment,
        context: &Context,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        self.push_within(Tunnel::default(), frame, segment, context, emit);
    }

    /// [`HostFilter::push`], within any tunnel.
    pub fn push_within(
        &mut self,
        tunnel: Tunnel,
        frame: &[u8],
        segment: &Segment,
        context: &Context,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        self.scratch.block.tunnel = tunnel;
        let every = self.tables.faults.forget_flow_every;
        if self.tables.turn_comes(every) {
            self.tables.flows.remove(&segment.key);
        }
        self.tables.add(Counter::Packets, 1);
        // The programs take no scratch memory for a pure acknowledgement.
        let control = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
        let every = self.tables.faults.scratch_busy_every;
        let looks = segment.payload_len > 0 || segment.flags & control != 0;
        if looks && self.tables.turn_comes(every) {
            return self.tables.add(Counter::ScratchBusy, 1);
        }
        if self.frames && self.is_settled(frame, segment, context) {
            return;
        }
        let s = &mut *self.scratch;
        if !self.frames {
            let mut env = HostEnv::<_, false> {
                tables: &mut self.tables,
                snippet: &self.config.snippet,
                frame,
                emit,
            };
            if filter::begin(s, &mut env, &self.config, segment, context) {
                let more = (0..RAW_STEPS).all(|_| filter::raw_step(s, &mut env));
                if more {
                    filter::drop_rest(s, &mut env);
                }
            }
            return filter::finish(s, &mut env, &self.config);
        }
        let mut env = HostEnv::<_, true> {
            tables: &mut self.tables,
            snippet: &self.config.snippet,
            frame,
            emit,
        };
        if segment.flags & control != 0 && filter::sum::is_disproved(s, &mut env, segment) {
            self.tables.add(Counter::BadChecksum, 1);
            return;
        }
        if filter::begin(s, &mut env, &self.config, segment, context) {
            while filter::step(s, &mut env) {}
        }
        filter::finish(s, &mut env, &self.config);
    }

    /// Settles a segment that needs no working memory.
    fn is_settled(&mut self, frame: &[u8], segment: &Segment, context: &Context) -> bool {
        let first = frame.get(segment.payload_offset as usize);
        let may_settle = |first| filter::may_settle(&self.config, segment, first);
        if segment.payload_len == 0 || !first.copied().is_some_and(may_settle) {
            return false;
        }
        let Some(flow) = self.tables.flows.get_mut(&segment.key) else {
            self.tables.add(Counter::NotHttp, 1);
            return true;
        };
        let inside = Inside {
            direction: segment.direction as u32,
            seq: segment.payload_seq(),
            len: segment.payload_len,
            place: context.place(),
            no_write_back: false,
        };
        let now_s = (context.time_ns / 1_000_000_000) as u32;
        let skipped = filter::skip_inside(flow, &inside, now_s);
        if skipped {
            self.tables.add(Counter::BodySkipped, segment.payload_len);
        }
        skipped
    }

    /// Passes a frame to the filter whose IP packet, which begins at `at` in a network of this number, is a
    /// fragment.
    pub fn push_fragment(
        &mut self,
        tunnel: Tunnel,
        frame: &[u8],
        (at, netns): (u32, u32),
        context: &Context,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        self.scratch.block.tunnel = tunnel;
        self.count(Counter::Packets, 1);
        if self.frames {
            self.ship_fragment::<true>(frame, (at, netns), context, emit);
        } else {
            self.ship_fragment::<false>(frame, (at, netns), context, emit);
        }
    }

    fn ship_fragment<const FRAMES: bool>(
        &mut self,
        frame: &[u8],
        (at, netns): (u32, u32),
        context: &Context,
        emit: &mut impl FnMut(Record<'_>),
    ) {
        let s = &mut *self.scratch;
        let mut env = HostEnv::<_, FRAMES> {
            tables: &mut self.tables,
            snippet: &self.config.snippet,
            frame,
            emit,
        };
        if filter::begin_fragment(s, &mut env, &self.config, frame, at, netns, context) {
            while filter::fragment_step(s, &mut env) {}
        }
    }

    /// Hands framing of a connection back to the filter, as the host does for the kernel's filter.
    pub fn hand_back(&mut self, key: FlowKey, handed: HandBack) {
        // Like the kernel's table, it drops entries rather than grow.
        if self.tables.handed_back.len() >= MAX_HANDED_BACK {
            self.tables.handed_back.clear();
        }
        self.tables.handed_back.insert(key, handed);
    }

    pub fn count(&mut self, counter: Counter, n: u32) {
        self.tables.add(counter, n);
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.tables.counters[counter as usize]
    }

    /// Number of connections that are followed now.
    pub fn flows(&self) -> usize {
        self.tables.flows.len()
    }

    /// Deletes idle flows, as the host does in the kernel's table; `now_s` is in seconds of the packets' clock.
    pub fn forget_idle(&mut self, now_s: u32) {
        let quiet_s = |flow: &Flow| now_s.saturating_sub(flow.last_seen_s);
        self.tables.flows.retain(|_, flow| !crowd::is_forgotten(flow, quiet_s(flow)));
    }
}

impl Tables {
    /// Evicts flows as the agent does in the kernel's table.
    fn make_room(&mut self, now_s: u32) {
        if self.flows.len() < crowd::high_mark(MAX_FLOWS) {
            return;
        }
        let entries: Vec<Entry> = self
            .flows
            .iter()
            .map(|(&key, flow)| Entry {
                key,
                doing: Doing::of(flow, now_s),
                last_seen: flow.last_seen_s.into(),
            })
            .collect();
        let excess = entries.len() - crowd::low_mark(MAX_FLOWS);
        for key in crowd::leaving(entries).take(excess) {
            self.flows.remove(&key);
        }
    }

    fn add(&mut self, counter: Counter, n: u32) {
        self.counters[counter as usize] += u64::from(n);
    }

    /// Whether it is this call's turn, of one in `every`, spread evenly.
    fn turn_comes(&mut self, every: u32) -> bool {
        if every == 0 {
            return false;
        }
        self.turn = self.turn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.turn >> 8).is_multiple_of(every)
    }
}

struct HostEnv<'a, F, const FRAMES: bool> {
    tables: &'a mut Tables,
    snippet: &'a Snippet,
    frame: &'a [u8],
    emit: &'a mut F,
}

impl<F: FnMut(Record<'_>), const FRAMES: bool> Unverified for HostEnv<'_, F, FRAMES> {}

impl<F: FnMut(Record<'_>), const FRAMES: bool> Env for HostEnv<'_, F, FRAMES> {
    const FRAMES: bool = FRAMES;

    fn ships_bodies(&self) -> bool {
        self.snippet.bytes != 0
    }

    fn body_bytes(&self, status: u32) -> u32 {
        self.snippet.of(status)
    }

    fn load(&mut self, block: &mut Block, offset: u32, len: u32) -> bool {
        let (from, len) = (offset as usize, len as usize);
        let source = self.frame.get(from..).and_then(|f| f.get(..len));
        let Some((into, source)) = block.bytes.get_mut(..len).zip(source) else {
            return false;
        };
        into.copy_from_slice(source);
        true
    }

    fn emit(&mut self, block: &mut Block) {
        block.header.attempt = self.tables.attempt;
        self.tables.attempt = self.tables.attempt.wrapping_add(1);
        let every = self.tables.faults.lose_record_every;
        if self.tables.turn_comes(every) {
            self.tables.add(Counter::RingFull, 1);
            self.tables.add(Counter::RingFullBytes, block.header.len);
            return;
        }
        self.tables.add(Counter::Records, 1);
        self.tables.add(Counter::RecordBytes, block.header.len);
        let bytes = block.bytes.get(..block.header.len as usize).unwrap_or_default();
        (self.emit)(Record {
            tunnel: (block.tunnel.what != 0).then_some(&block.tunnel),
            header: &block.header,
            bytes,
        });
    }

    fn count(&mut self, counter: Counter, n: u32) {
        self.tables.add(counter, n);
    }

    fn is_own(&self, key: &FlowKey) -> bool {
        let own = &self.tables.own;
        own.contains(&(key.a, key.a_port)) || own.contains(&(key.b, key.b_port))
    }

    fn claim(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim {
        let every = self.tables.faults.refuse_claim_every;
        if self.tables.turn_comes(every) {
            return Claim::Refused;
        }
        match self.tables.flows.get(key) {
            Some(known) => {
                *flow = *known;
                Claim::Held
            }
            None => Claim::Missing,
        }
    }

    fn insert(&mut self, key: &FlowKey, flow: &mut Flow) -> Claim {
        if self.tables.flows.contains_key(key) {
            return Claim::Refused;
        }
        self.tables.make_room(flow.last_seen_s);
        if self.tables.flows.len() >= MAX_FLOWS {
            return Claim::Missing;
        }
        self.tables.flows.insert(*key, *flow);
        Claim::Held
    }

    fn release(&mut self, key: &FlowKey, flow: &Flow, delete: bool) {
        if delete {
            self.tables.flows.remove(key);
        } else {
            self.tables.flows.insert(*key, *flow);
        }
    }

    fn syn(&mut self, key: &FlowKey, into: &mut Syn) {
        *into = self.tables.syns.peek(key).copied().unwrap_or(Syn::zeroed());
    }

    fn set_syn(&mut self, key: &FlowKey, syn: &Syn) {
        self.tables.syns.put(*key, *syn);
    }

    fn hand_back(&mut self, key: &FlowKey, into: &mut HandBack) -> bool {
        match self.tables.handed_back.get(key) {
            Some(handed) => {
                *into = *handed;
                true
            }
            None => false,
        }
    }

    fn fragment_budget(&mut self, _time_ns: u64, _bytes: u32) -> bool {
        true
    }

    fn unsure_budget(&mut self, _time_ns: u64, _bytes: u32) -> bool {
        // A replay need not spare a CPU for other traffic.
        let every = self.tables.faults.spend_budget_every;
        !self.tables.turn_comes(every)
    }
}
