//! The implementations of [`Protocol`], and which of them reads a connection.
//!
//! A connection begins as HTTP/1.x. Its framing declines a direction whose first bytes belong to another
//! protocol, and both directions of a tunnel. A connection in which nothing can be read becomes
//! [`Unread`] when it is next quiet. To add a protocol: a variant here, a case in
//! [`Implementation::resume`], and its state for a quiet connection. Must not know how bytes arrive.

use std::ops::{Deref, DerefMut};

use http_trace_common::start_line::{Match, status_line};

use crate::http1::Http1;
pub(crate) use crate::http1::{Memory, Profile, begins_message};
use crate::origin::Origin;
use crate::protocol::{Chunk, Cx, Gap, Link, Protocol, Standing};
use crate::stats::Unreadable;

/// The protocol of a connection while something is in flight.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all values in flight are of the large variant"
)]
pub(crate) enum Implementation {
    Http1(Http1),
    Unread(Unread),
}

impl Implementation {
    /// Resumes a quiet connection, with the directions at these positions.
    pub fn resume(memory: &Memory, link: &Link, next: [u64; 2]) -> Self {
        if memory.profile.opaque == [true; 2] {
            let memory = *memory;
            return Implementation::Unread(Unread { memory, next });
        }
        Implementation::Http1(Http1::resume(memory, link, next))
    }

    /// The state to keep once nothing is in flight.
    pub fn memory(&self) -> Memory {
        match self {
            Implementation::Http1(http1) => http1.memory(),
            Implementation::Unread(unread) => unread.memory,
        }
    }

    /// Direction `d` is joined in midstream; see [`Memory::join`].
    pub fn join(&mut self, d: usize, at: u64, requests: Option<(u64, bool)>) {
        match self {
            Implementation::Http1(http1) => http1.join(d, at, requests),
            Implementation::Unread(unread) => unread.rewind(d, at),
        }
    }

    /// Another connection begins at `at` in direction `d`.
    pub fn begin_anew(&mut self, link: &Link, d: usize, at: u64) {
        if let Implementation::Unread(unread) = self {
            let http1 = Http1::resume(&unread.memory, link, unread.next);
            *self = Implementation::Http1(http1);
        }
        if let Implementation::Http1(http1) = self {
            http1.begin_anew(d, at);
        }
    }

    /// A filter, which saw the first bytes, reports that this is not HTTP/1.x.
    pub fn not_readable(&mut self, cx: &mut Cx<'_>, kind: Unreadable) {
        if let Implementation::Http1(http1) = self {
            http1.profile.not_readable(cx, kind);
        }
    }

    /// What was learned about the protocol.
    pub const fn profile(&self) -> &Profile {
        match self {
            Implementation::Http1(http1) => &http1.profile,
            Implementation::Unread(unread) => &unread.memory.profile,
        }
    }
}

impl Deref for Implementation {
    type Target = dyn Protocol;

    fn deref(&self) -> &Self::Target {
        match self {
            Implementation::Http1(http1) => http1,
            Implementation::Unread(unread) => unread,
        }
    }
}

impl DerefMut for Implementation {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Implementation::Http1(http1) => http1,
            Implementation::Unread(unread) => unread,
        }
    }
}

/// Whether bytes are, or may be, the beginning of a response.
pub(crate) fn may_answer(bytes: &[u8]) -> bool {
    !bytes.is_empty() && status_line(bytes) != Match::No
}

/// Whether bytes are the beginning of a response.
pub(crate) fn answers(bytes: &[u8]) -> bool {
    status_line(bytes) == Match::Yes
}

/// A connection that is not read: only its positions are followed.
#[derive(Debug)]
pub(crate) struct Unread {
    memory: Memory,
    next: [u64; 2],
}

impl Protocol for Unread {
    fn data(&mut self, _cx: &mut Cx<'_>, d: usize, chunk: &Chunk<'_>) {
        self.next[d] += chunk.bytes.len() as u64;
    }

    fn skip(&mut self, _cx: &mut Cx<'_>, d: usize, n: u64, _origin: &Origin) {
        self.next[d] += n;
    }

    fn gap(&mut self, _cx: &mut Cx<'_>, d: usize, gap: &Gap<'_>) {
        self.next[d] += gap.len;
    }

    fn jump(&mut self, _cx: &mut Cx<'_>, d: usize, to: u64, _origin: &Origin) {
        self.next[d] = to;
    }

    fn rewind(&mut self, d: usize, at: u64) {
        self.next[d] = at;
    }

    fn next(&self, d: usize) -> u64 {
        self.next[d]
    }

    fn skippable(&self, _d: usize) -> u64 {
        u64::MAX
    }

    fn standing(&self, _d: usize) -> Standing {
        Standing::Opaque
    }
}
