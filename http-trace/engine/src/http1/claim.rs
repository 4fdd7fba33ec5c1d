//! Responses that are held back until they are believed, and what speaks for them. Decides nothing.

use http_trace_model::event::BodyEnd;

use super::transaction::exchange_cost;
use crate::protocol::exchange::{Exchange, Outcome};

/// How long a claim that nothing speaks against is held back: a round trip, and some patience.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Responses that are not believed yet.
#[derive(Debug)]
pub(super) struct Claim {
    /// Direction of the server.
    pub d: usize,
    pub since_ns: u64,
    pub basis: Basis,
    /// Bytes right before it went by unframed: a body that it may be part of.
    pub amid: bool,
    /// Exchanges, and whether their requests are theirs only if the claim is right.
    pub held: Vec<(Exchange, bool)>,
}

/// What a claim rests on.
#[derive(Debug)]
pub(super) enum Basis {
    /// The client is not heard.
    Unheard {
        /// What the first response acknowledged.
        ack: Option<u32>,
        /// The server has received more since.
        received: bool,
        live: bool,
    },
    /// Requests that were sent when all before this position was received.
    Asked {
        at: u64,
        /// Which of them is answered is known only if the claim is right.
        paired: bool,
    },
}

impl Claim {
    /// When it is believed, if nothing speaks against it.
    pub fn due_ns(&self) -> Option<u64> {
        let believed = !matches!(
            self.basis,
            Basis::Unheard {
                received: false,
                ..
            }
        );
        believed.then(|| self.since_ns.saturating_add(PATIENCE_NS))
    }

    /// Whether it may be part of a body to the end: it begins amid bytes that went by, and did not come to an end
    /// of its own.
    pub fn may_be_body(&self) -> bool {
        use BodyEnd::{Chunked, Length, None, Tunnel};
        let ended = |exchange: &Exchange| {
            matches!(
                exchange.outcome,
                Outcome::Ended(None | Length | Chunked | Tunnel)
            )
        };
        let last = self.held.last();
        self.amid && last.is_some_and(|(exchange, _)| !ended(exchange))
    }

    /// Memory in use, in bytes.
    pub fn size(&self) -> usize {
        let held = self
            .held
            .iter()
            .map(|(exchange, _)| exchange_cost(exchange));
        size_of::<Claim>() + held.sum::<usize>()
    }
}
