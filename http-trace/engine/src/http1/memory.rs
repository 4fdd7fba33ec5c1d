//! HTTP/1.x state of a connection while nothing is in flight. One exists per connection: it must stay small.

use super::order::Order;
use crate::protocol::Cx;
use crate::stats::Unreadable;

/// State that is kept while nothing is in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub order: Order,
    pub profile: Profile,
    /// Framing of the direction is lost.
    pub unsure: [bool; 2],
    /// The bytes passed over in the direction ended like a head.
    pub passed_head: [bool; 2],
    /// Framing of the direction was lost with bytes that we lost.
    pub lost: [bool; 2],
    /// The framer's queue of requests is unknown.
    pub queue_unknown: bool,
}

impl Memory {
    /// Direction `d` is joined in midstream. `requests`, if some may be missing: the position in the
    /// stream of requests, and whether bytes of it are known to be lost.
    pub fn join(&mut self, d: usize, requests: Option<(u64, bool)>) {
        self.unsure[d] = true;
        self.order.join(requests);
    }
}

/// What was learned about a connection's protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Profile {
    /// Bytes that were not framed as a message before the connection was known to be HTTP.
    unframed: u32,
    /// A head was framed in the direction.
    pub framed: [bool; 2],
    /// The direction is permanently opaque.
    pub opaque: [bool; 2],
    /// A message was framed.
    pub http: bool,
    /// Bytes passed that were not framed as a message.
    pub passed: bool,
    /// `None` while nothing contradicts HTTP/1.x.
    pub unreadable: Option<Unreadable>,
}

impl Profile {
    /// A message was framed in direction `d`.
    pub fn met_http(&mut self, cx: &mut Cx<'_>, d: usize, response: bool) {
        self.framed[d] = true;
        if self.http {
            return;
        }
        if let Some(kind) = self.unreadable {
            cx.stats.uncount_unreadable(kind, cx.server_port());
        }
        self.http = true;
        cx.stats.http_flows += 1;
        cx.stats.unframed_bytes += u64::from(std::mem::take(&mut self.unframed));
        let server = if response { d } else { 1 - d };
        cx.sink.served_at(cx.ports[server]);
    }

    /// Counts `n` bytes of direction `d` that were not framed as a message, once the connection is known
    /// to be HTTP: in another protocol none would be. `lost` says that they follow a loss of our own.
    pub fn unframed(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, lost: bool) {
        self.passed |= n > 0;
        if cx.link.muted {
            return;
        }
        if !self.http {
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
        if self.http || self.unreadable.is_some() {
            return;
        }
        self.unreadable = Some(kind);
        cx.stats.count_unreadable(kind, cx.server_port());
    }
}
