//! Requests that wait for a response, reduced to what framing needs, in one word.

use bytemuck::{Pod, Zeroable};

/// The part of a request's method that the framing of its response depends on (RFC 9112 §6.3, items
/// 1, 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MethodKind {
    /// Any other method.
    Other = 0,
    /// HEAD: the response has no body.
    Head = 1,
    /// CONNECT: a 2xx response begins a tunnel.
    Connect = 2,
}

impl MethodKind {
    #[inline(always)]
    pub(super) const fn from_number(n: u8) -> Self {
        match n {
            1 => MethodKind::Head,
            2 => MethodKind::Connect,
            _ => MethodKind::Other,
        }
    }
}

/// Outstanding requests in order, two bits each; or *unknown*.
///
/// At most 28 fit; more make the queue unknown. Once unknown it stays unknown until
/// [`RequestQueue::new`] replaces it, because it is impossible to tell which request the next
/// response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct RequestQueue(u64);

impl RequestQueue {
    /// Maximum number of requests.
    pub const CAPACITY: u32 = 28;
    const COUNT_SHIFT: u32 = 56;
    const UNKNOWN: u64 = 1 << 63;

    /// Known and empty.
    pub const fn new() -> Self {
        RequestQueue(0)
    }

    /// It is unknown which requests are outstanding.
    pub const fn unknown() -> Self {
        RequestQueue(Self::UNKNOWN)
    }

    /// How many requests are outstanding; 0 when unknown.
    #[inline(always)]
    pub const fn len(&self) -> u32 {
        (self.0 >> Self::COUNT_SHIFT) as u32 & 0x1f
    }

    /// Whether no request is known to be outstanding.
    #[inline(always)]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether certainly no request is outstanding.
    #[inline(always)]
    pub const fn has_none(&self) -> bool {
        self.0 >> Self::COUNT_SHIFT == 0
    }

    /// Whether it is unknown which requests are outstanding.
    #[inline(always)]
    pub const fn is_unknown(&self) -> bool {
        self.0 & Self::UNKNOWN != 0
    }

    /// Forgets all requests and marks the queue as unknown.
    #[inline(always)]
    pub const fn set_unknown(&mut self) {
        self.0 = Self::UNKNOWN;
    }

    /// Adds a request at the end.
    #[inline(always)]
    pub const fn push(&mut self, kind: MethodKind) {
        let count = self.len();
        if self.is_unknown() || count >= Self::CAPACITY {
            self.set_unknown();
            return;
        }
        let entries = self.0 & ((1 << Self::COUNT_SHIFT) - 1);
        self.0 = entries | (kind as u64) << (2 * count) | ((count + 1) as u64) << Self::COUNT_SHIFT;
    }

    /// Takes the oldest request; `None` if the queue is unknown or empty.
    #[inline(always)]
    pub const fn pop(&mut self) -> Option<MethodKind> {
        let count = self.len();
        if self.is_unknown() || count == 0 {
            return None;
        }
        let kind = MethodKind::from_number(self.0 as u8 & 3);
        let entries = (self.0 & ((1 << Self::COUNT_SHIFT) - 1)) >> 2;
        self.0 = entries | ((count - 1) as u64) << Self::COUNT_SHIFT;
        Some(kind)
    }
}

impl Default for RequestQueue {
    fn default() -> Self {
        Self::new()
    }
}
