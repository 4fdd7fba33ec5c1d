//! Whether a connection is another's copy, asked at each request's head.

use super::Judge;
use crate::flow::alias::{Head, Place, Sighting};
use crate::http::connection::Facts;
use crate::http::context::Context;

impl Judge {
    /// Asks whether the request's head in direction `d` is a copy of another connection's; nothing
    /// comes of this one then.
    pub(super) fn sight_request(
        &self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        raw: &[u8],
    ) {
        if let Some(sighting) = self.sighting(facts, cx, d, Head::Request) {
            self.meet(facts, cx, d, sighting, raw);
        }
    }

    /// As for a request, for one of whose head no more than its first line may have come by everywhere.
    pub(super) fn sight_begun(
        &self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        line: &[u8],
    ) {
        if let Some(sighting) = self.sighting(facts, cx, d, Head::Request)
            && let Some(copy) = cx.sightings.meet(sighting, line, line.len() as u64)
        {
            *cx.copy = Some(copy);
            facts.muted = true;
        }
    }

    /// As for a request, for the head of a response whose request was not seen. Those of a
    /// connection that has several names are noted.
    pub(super) fn sight_response(
        &self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        raw: &[u8],
    ) {
        let current = self.exchanges.current.as_ref();
        let orphan = current.is_none_or(|current| current.request.is_none());
        if !orphan && cx.aliases.names(facts.number).is_none() {
            return;
        }
        let Some(sighting) = self.sighting(facts, cx, d, Head::Response) else {
            return;
        };
        if orphan {
            self.meet(facts, cx, d, sighting, raw);
        } else {
            cx.sightings.note(sighting, raw, self.halves[d].head_len);
        }
    }

    fn sighting(&self, facts: &Facts, cx: &Context<'_>, d: usize, head: Head) -> Option<Sighting> {
        let half = &self.halves[d];
        let first = half.head_origin.filter(|_| !facts.muted)?;
        let start = |d: usize| facts.start_known[d].then_some(facts.start[d]);
        Some(Sighting {
            key: cx.key,
            sender: Facts::direction(d),
            id: cx.id,
            number: facts.number,
            head,
            seq: half.head_start as u32,
            ack: first.ack(),
            starts: [start(d), start(1 - d)],
            time_ns: first.time_ns,
            place: Place::of(&cx.key, &first),
            path: first.path,
        })
    }

    fn meet(
        &self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        sighting: Sighting,
        raw: &[u8],
    ) {
        let len = self.halves[d].head_len;
        if let Some(copy) = cx.sightings.meet(sighting, raw, len) {
            *cx.copy = Some(copy);
            facts.muted = true;
        }
    }
}
