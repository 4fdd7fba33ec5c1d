//! Reasons for not shipping something: one per-CPU counter for each in the kernel, and the same
//! numbers in a replay that runs the filter.

crate::named_enum! {
    /// A reason to drop or skip, or an occurrence that tests and `doctor` need to know. Its name appears in summaries, loss
    /// events and metrics.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u32)]
    pub enum Counter {
        /// Packets seen by the hook.
        Packets = "packets",
        /// Packets that are not IPv4 or IPv6, not TCP, or without any of the payload.
        NotTcp = "not_tcp",
        /// Packets whose headers contradict the length of the frame.
        MalformedPacket = "malformed_packet",
        /// IPv6 packets with more extension headers than are followed.
        TooManyHeaders = "too_many_headers",
        /// Packets that were looked into as tunnels (`--decap`).
        Decapsulated = "decapsulated",
        /// IP fragments shipped, for the host to reassemble.
        Fragment = "fragment",
        /// IP fragments dropped because their budget was spent.
        FragmentDropped = "fragment_dropped",
        /// Bytes of IP payload in the dropped fragments.
        FragmentDroppedBytes = "fragment_dropped_bytes",
        /// SYNs, FINs and RSTs with a wrong checksum from a sender that fills checksums in.
        BadChecksum = "bad_checksum",
        /// Segments with payload or FIN, but without SYN, RST and ACK, which every receiver drops.
        WithoutAck = "without_ack",
        /// Segments excluded by the port, client or server limits.
        Excluded = "excluded",
        /// Segments of the agent's own connections that begin like a message.
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
        /// Segments whose bytes were all handled before (retransmissions, or the same packet at a
        /// second hook).
        Copies = "copies",
        /// Segments shipped as they were because another context held the flow.
        ClaimRefused = "claim_refused",
        /// Packets shipped or dropped unexamined because every scratch slot of the CPU was in use.
        ScratchBusy = "scratch_busy",
        /// Directions that became `Unsure`.
        BecameUnsure = "became_unsure",
        /// Connections whose framing the host handed back.
        HandedBack = "handed_back",
        /// Directions whose trial the host found right.
        TrialRight = "trial_right",
        /// Directions whose trial the host found wrong.
        TrialWrong = "trial_wrong",
        /// Segments of an `Unsure` direction dropped because its budget was spent.
        UnsureDropped = "unsure_dropped",
        /// Payload bytes in the dropped segments.
        UnsureDroppedBytes = "unsure_dropped_bytes",
        /// Skbs whose framing took more steps than the budget allows; their rest shipped as it was.
        StepBudget = "step_budget",
        /// Payload bytes that could not be read from the skb.
        LoadFailed = "load_failed",
        /// Records written.
        Records = "records",
        /// Payload bytes in the written records.
        RecordBytes = "record_bytes",
        /// Records lost because the ring buffer was full.
        RingFull = "ring_full",
        /// Payload bytes in the lost records.
        RingFullBytes = "ring_full_bytes",
        /// Payload bytes skipped as body.
        BodySkipped = "body_skipped",
        /// Payload bytes shipped from followed directions, body or head.
        HeadShipped = "head_shipped",
        /// Lines that are not a status line where one was expected (for example HTTP/1.x with status
        /// 000).
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
}

/// Number of counters.
pub const COUNT: usize = Counter::ALL.len();
