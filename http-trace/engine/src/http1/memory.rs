//! HTTP/1.x state of a connection while nothing is in flight. One exists per connection: it must stay small.

use super::order::Order;
use crate::protocol::Cx;
use crate::stats::Unreadable;

/// State that is kept while nothing is in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub order: Order,
    pub profile: Profile,
    bits: u8,
}

/// Framing of the direction is lost; shifted by the direction.
const UNSURE: u8 = 1 << 0;
/// The bytes passed over in the direction ended like a head; shifted by the direction.
const PASSED_HEAD: u8 = 1 << 2;
/// The framer's queue of requests is unknown.
const QUEUE_UNKNOWN: u8 = 1 << 4;
/// Framing of the direction was lost with bytes that we lost; shifted by the direction.
const LOST: u8 = 1 << 5;

impl Memory {
    pub const fn unsure(&self, d: usize) -> bool {
        self.bits & UNSURE << (d & 1) != 0
    }

    pub const fn passed_head(&self, d: usize) -> bool {
        self.bits & PASSED_HEAD << (d & 1) != 0
    }

    pub const fn lost(&self, d: usize) -> bool {
        self.bits & LOST << (d & 1) != 0
    }

    pub const fn queue_unknown(&self) -> bool {
        self.bits & QUEUE_UNKNOWN != 0
    }

    /// The state of a quiet connection.
    pub fn of(
        order: Order,
        profile: Profile,
        unsure: [bool; 2],
        passed_head: [bool; 2],
        lost: [bool; 2],
        queue_unknown: bool,
    ) -> Self {
        let mut bits = if queue_unknown { QUEUE_UNKNOWN } else { 0 };
        for d in 0..2 {
            bits |= (u8::from(unsure[d]) * UNSURE) << d;
            bits |= (u8::from(passed_head[d]) * PASSED_HEAD) << d;
            bits |= (u8::from(lost[d]) * LOST) << d;
        }
        Memory { order, profile, bits }
    }

    /// Direction `d` is joined in midstream. `requests`, if some may be missing: the position in the
    /// stream of requests, and whether bytes of it are known to be lost.
    pub fn join(&mut self, d: usize, requests: Option<(u64, bool)>) {
        self.bits |= UNSURE << (d & 1);
        self.order.join(requests);
    }
}

/// What was learned about a connection's protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Profile {
    /// Bytes that were not framed as a message before the connection was known to be HTTP.
    unframed: u32,
    bits: u8,
    /// `None` while nothing contradicts HTTP/1.x.
    unreadable: Option<Unreadable>,
}

/// A head was framed in the direction; shifted by the direction.
const FRAMED: u8 = 1 << 0;
/// The direction is permanently opaque; shifted by the direction.
const OPAQUE: u8 = 1 << 2;
/// A message was framed.
const HTTP: u8 = 1 << 4;
/// Bytes passed that were not framed as a message.
const PASSED: u8 = 1 << 5;

impl Profile {
    /// Whether a head was framed in direction `d`.
    pub const fn framed(&self, d: usize) -> bool {
        self.bits & FRAMED << (d & 1) != 0
    }

    pub const fn set_framed(&mut self, d: usize) {
        self.bits |= FRAMED << (d & 1);
    }

    /// Refutes what was framed in direction `d`.
    pub const fn unset_framed(&mut self, d: usize) {
        self.bits &= !(FRAMED << (d & 1));
    }

    /// Whether direction `d` is permanently opaque.
    pub const fn opaque(&self, d: usize) -> bool {
        self.bits & OPAQUE << (d & 1) != 0
    }

    pub const fn set_opaque(&mut self, d: usize) {
        self.bits |= OPAQUE << (d & 1);
    }

    /// Whether a message was framed.
    pub const fn http(&self) -> bool {
        self.bits & HTTP != 0
    }

    /// Whether the connection's bytes are known not to be HTTP/1.x.
    pub const fn is_unreadable(&self) -> bool {
        self.unreadable.is_some()
    }

    /// Whether bytes passed that were not framed as a message.
    pub const fn has_passed(&self) -> bool {
        self.bits & PASSED != 0
    }

    /// A message was framed in direction `d`.
    pub fn met_http(&mut self, cx: &mut Cx<'_>, d: usize, response: bool) {
        self.set_framed(d);
        if self.http() {
            return;
        }
        if let Some(kind) = self.unreadable {
            cx.stats.uncount_unreadable(kind, cx.server_port());
        }
        self.bits |= HTTP;
        cx.stats.http_flows += 1;
        cx.stats.unframed_bytes += u64::from(std::mem::take(&mut self.unframed));
        let server = if response { d } else { 1 - d };
        cx.sink.served_at(cx.ports[server]);
    }

    /// Counts `n` bytes of direction `d` that were not framed as a message, once the connection is known
    /// to be HTTP: in another protocol none would be. `lost` says that they follow a loss of our own.
    pub fn unframed(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, lost: bool) {
        self.bits |= if n > 0 { PASSED } else { 0 };
        if cx.link.muted {
            return;
        }
        if !self.http() {
            if cx.link.start(d).is_none() {
                let n = n.min(u32::MAX.into()) as u32;
                self.unframed = self.unframed.saturating_add(n);
            }
            return;
        }
        self.dropped(cx, n, cx.now_ns, lost);
    }

    /// Counts `n` bytes that came at `since_ns` or later as not framed; `lost` as for [`Profile::unframed`].
    pub fn dropped(&self, cx: &mut Cx<'_>, n: u64, since_ns: u64, lost: bool) {
        if cx.link.muted {
            return;
        }
        cx.stats.unframed_bytes += n;
        if lost && n > 0 {
            cx.lose_bytes("unframed", n, since_ns);
        }
    }

    /// The connection's first bytes belong to another protocol.
    pub fn not_readable(&mut self, cx: &mut Cx<'_>, kind: Unreadable) {
        if self.http() || self.unreadable.is_some() {
            return;
        }
        self.unreadable = Some(kind);
        cx.stats.count_unreadable(kind, cx.server_port());
    }
}
