//! Pauses of a client that may keep requests open on a connection. While requests are open, their answers come in a pause.

/// The pauses since more than one answer, or none, came between two requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pauses {
    /// When the last request was sent.
    asked_ns: u64,
    /// How long before it the server had been silent.
    silent_ns: u64,
    /// The long ones count for more.
    number: u8,
}

/// Number of pauses that show that nothing was open.
const ENOUGH: u8 = 3;
const LEAST_NS: u64 = 1_000_000;
/// One of these is enough.
const LONG_NS: u64 = 500_000_000;

impl Pauses {
    /// A request was sent at `asked_ns`, and the server's last bytes before it came at `seen_ns`; `one` says that exactly
    /// one response came since the request before. Counts the pause before that request, if it was much longer than its
    /// answer took. Returns whether there were enough.
    pub fn add(&mut self, one: bool, asked_ns: u64, seen_ns: u64) -> bool {
        let took_ns = seen_ns.saturating_sub(self.asked_ns);
        if !one {
            self.number = 0;
        } else if self.silent_ns >= LEAST_NS && self.silent_ns / 8 >= took_ns {
            let weight = if self.silent_ns >= LONG_NS { ENOUGH } else { 1 };
            self.number = self.number.saturating_add(weight);
        }
        (self.asked_ns, self.silent_ns) = (asked_ns, asked_ns.saturating_sub(seen_ns));
        self.number >= ENOUGH
    }
}
