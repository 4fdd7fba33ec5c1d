//! Why something was not shipped: one per-CPU counter in the kernel for each reason, and the same
//! numbers from a replay that runs the filter.

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $name:ident = $text:literal, )+) => {
        /// A reason to drop or skip, or something met that tests and `doctor` want to know of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Counter {
            $( $(#[doc = $doc])+ $name, )+
        }

        impl Counter {
            /// Every counter, in the order of its number.
            pub const ALL: &'static [Counter] = &[$(Counter::$name),+];

            /// The name in summaries, loss events and metrics.
            pub const fn name(self) -> &'static str {
                match self { $( Counter::$name => $text, )+ }
            }
        }
    };
}

counters! {
    /// Packets the hook looked at.
    Packets = "packets",
    /// Not IPv4 or IPv6, not TCP, or nothing of the payload in it.
    NotTcp = "not_tcp",
    /// Headers that contradict the frame's length.
    MalformedPacket = "malformed_packet",
    /// Packets that were looked into as a tunnel's (`--decap`).
    Decapsulated = "decapsulated",
    /// IP fragments shipped, for the host to put together.
    Fragment = "fragment",
    /// IP fragments that were dropped because the budget for them was spent.
    FragmentDropped = "fragment_dropped",
    /// Bytes of IP payload in those.
    FragmentDroppedBytes = "fragment_dropped_bytes",
    /// SYNs, FINs and RSTs with a wrong checksum, of a sender that fills it in.
    BadChecksum = "bad_checksum",
    /// Segments with payload or FIN, but neither SYN, RST nor ACK: nobody takes them.
    WithoutAck = "without_ack",
    /// Left out by the port, client or server limits.
    Excluded = "excluded",
    /// Segments of the agent's own connections that begin as a message does.
    OwnTraffic = "own_traffic",
    /// Payload on a connection that is not followed and does not begin a message.
    NotHttp = "not_http",
    /// Connections that began with a TLS ClientHello.
    Tls = "tls",
    /// Connections that began with the HTTP/2 preface.
    Http2 = "http2",
    /// Flows admitted to the table.
    FlowsAdmitted = "flows_admitted",
    /// Flows removed on close.
    FlowsClosed = "flows_closed",
    /// Flows not admitted because the table was full.
    TableFull = "table_full",
    /// Segments all of whose bytes had been handled (retransmissions, or the same packet at a
    /// second hook).
    Copies = "copies",
    /// Segments shipped as they were because another context held the flow.
    ClaimRefused = "claim_refused",
    /// Packets shipped or dropped unseen because every scratch slot of the CPU was in use.
    ScratchBusy = "scratch_busy",
    /// Directions that became `Unsure`.
    BecameUnsure = "became_unsure",
    /// Connections whose framing the host handed back.
    HandedBack = "handed_back",
    /// Directions whose framing on trial the host found right.
    TrialRight = "trial_right",
    /// Directions whose framing on trial the host found wrong.
    TrialWrong = "trial_wrong",
    /// Segments of an `Unsure` direction that were dropped because its budget was spent.
    UnsureDropped = "unsure_dropped",
    /// Payload bytes in those.
    UnsureDroppedBytes = "unsure_dropped_bytes",
    /// Skbs whose framing took more steps than the budget allows; their rest shipped whole.
    StepBudget = "step_budget",
    /// Payload bytes that could not be read from the skb.
    LoadFailed = "load_failed",
    /// Records written.
    Records = "records",
    /// Payload bytes in them.
    RecordBytes = "record_bytes",
    /// Records lost because the ring buffer was full.
    RingFull = "ring_full",
    /// Payload bytes in those.
    RingFullBytes = "ring_full_bytes",
    /// Payload bytes skipped as body.
    BodySkipped = "body_skipped",
    /// Payload bytes shipped of directions that were followed, body or head.
    HeadShipped = "head_shipped",
    /// Lines where a status line was due that are none (HTTP/1.x with status 000, say).
    BadStatusLine = "bad_status_line",
    /// Skbs whose payload was not linear.
    SkbNonLinear = "skb_non_linear",
    /// Skbs that hold more than one wire segment (GSO or GRO).
    SkbGso = "skb_gso",
    /// Skbs without a link-layer header.
    SkbL3 = "skb_l3",
    /// Skbs in which more than one head was found.
    SkbSeveralHeads = "skb_several_heads",
}

/// How many counters there are.
pub const COUNT: usize = Counter::ALL.len();
