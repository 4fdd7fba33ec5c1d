//! Claims: responses that are held back until they are confirmed, and the evidence for them. Decides nothing.

use http_trace_model::event::BodyEnd;

use super::transaction::exchange_cost;
use crate::protocol::exchange::{Exchange, Outcome};

/// How long an uncontradicted claim is held back: one round trip with a margin.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Responses that are not confirmed yet.
#[derive(Debug)]
pub(super) struct Claim {
    /// Direction of the server.
    pub d: usize,
    pub since_ns: u64,
    pub basis: Basis,
    /// Bytes right before it passed unframed: it may be part of a body.
    pub amid: bool,
    /// Exchanges held back, each with whether its request is paired only if the claim is right.
    pub held: Vec<(Exchange, bool)>,
}

/// The evidence that a claim rests on.
#[derive(Debug)]
pub(super) enum Basis {
    /// The client is not seen.
    Unheard {
        /// What the first response acknowledged.
        ack: Option<u32>,
        /// Whether the server has received more since.
        received: bool,
        live: bool,
    },
    /// Requests sent when everything before this position had been received.
    Asked {
        at: u64,
        /// Whether the pairing of requests depends on the claim.
        paired: bool,
    },
}

impl Claim {
    /// When it is accepted if nothing contradicts it.
    pub fn due_ns(&self) -> Option<u64> {
        let believed = !matches!(self.basis, Basis::Unheard { received: false, .. });
        believed.then(|| self.since_ns.saturating_add(PATIENCE_NS))
    }

    /// Whether all of it may be part of a body: it begins amid unframed bytes, and its own framing did
    /// not end it.
    pub fn may_be_body(&self) -> bool {
        use BodyEnd::{Chunked, Length, None, Tunnel};
        let ended = |exchange: &Exchange| {
            matches!(exchange.outcome, Outcome::Ended(None | Length | Chunked | Tunnel))
        };
        let last = self.held.last();
        self.amid && last.is_some_and(|(exchange, _)| !ended(exchange))
    }

    /// Memory in use, in bytes.
    pub fn size(&self) -> usize {
        let held = self.held.iter().map(|(exchange, _)| exchange_cost(exchange));
        size_of::<Claim>() + held.sum::<usize>()
    }
}
