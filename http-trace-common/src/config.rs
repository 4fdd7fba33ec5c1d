//! What the loader tells the program: sizes as map sizes, the rest as one read-only global.

use bytemuck::{Pod, Zeroable};

/// Limits of the filter, read-only once the program is loaded. All integers in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FilterConfig {
    /// Folded from the network namespace's cookie by the loader; the same at every hook of a
    /// namespace.
    pub netns: u32,
    /// 1 when a frame begins with an Ethernet header, 0 when with IP.
    pub ethernet: u8,
    /// The [`crate::record::Hook`] as its number.
    pub hook: u8,
    /// 1 to leave the flow as it was (so that a benchmark can repeat one packet).
    pub no_write_back: u8,
    /// How many entries of `ports` count; 0 for every port.
    pub port_ranges: u8,
    /// Inclusive ranges of server ports to follow.
    pub ports: [PortRange; MAX_PORT_RANGES],
    /// Bytes an `Unsure` direction may ship before the shared budget.
    pub unsure_flow_bytes: u32,
    /// Steps of the framer per skb before its rest ships whole.
    pub steps: u32,
    /// 1 to count which segments came non-linear, as GSO or GRO super-packets, or without a
    /// link-layer header; else the program saves the look-ups.
    pub count_skbs: u32,
    /// Tunnels to look into, and whether tags are told: bits of [`decap`].
    pub decap: u32,
    /// Which responses' bodies ship how far.
    pub snippet: Snippet,
}

/// Bits of [`FilterConfig::decap`].
pub mod decap {
    /// VXLAN (RFC 7348) on UDP port 4789 or 8472, Linux's own.
    pub const VXLAN: u32 = 1 << 0;
    /// IPv4 and IPv6 within IPv4 and IPv6 (RFC 2003, 2473, 4213).
    pub const IPIP: u32 = 1 << 1;
    /// What is in VXLAN networks of different numbers may be one connection, as where each direction
    /// is routed into the network of its receiver; and equal tuples in two networks are not told
    /// apart.
    pub const JOINED: u32 = 1 << 2;
    /// Any tunnel: what is no TCP is looked into.
    pub const TUNNELS: u32 = VXLAN | IPIP;
    /// VLAN tags (IEEE 802.1Q, 802.1ad) are told, and equal tuples in two VLANs told apart.
    pub const VLAN: u32 = 1 << 3;
}

/// The first bytes of bodies that are wanted, by status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Snippet {
    /// How many, up to [`MAX_SNIPPET`]; 0 for none.
    pub bytes: u32,
    /// One bit for each status code of which they are wanted.
    pub statuses: [u32; 32],
}

/// The most bytes of a body that are wanted.
pub const MAX_SNIPPET: u32 = 4096;

impl Snippet {
    /// Of no body.
    pub const NONE: Snippet = Snippet {
        bytes: 0,
        statuses: [0; 32],
    };

    /// Wants the bodies of a status code too.
    pub fn add(&mut self, status: u16) {
        if let Some(word) = self.statuses.get_mut(usize::from(status >> 5)) {
            *word |= 1 << (status & 31);
        }
    }

    /// How many bytes of the body of a response with `status` are wanted.
    #[inline(always)]
    pub const fn of(&self, status: u32) -> u32 {
        let word = self.statuses[(status >> 5 & 31) as usize];
        if word >> (status & 31) & 1 != 0 {
            self.bytes
        } else {
            0
        }
    }
}

/// The most port ranges a configuration holds.
pub const MAX_PORT_RANGES: usize = 16;

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl FilterConfig {
    /// Every port, Ethernet frames, the budgets of the design.
    pub const DEFAULT: FilterConfig = FilterConfig {
        netns: 0,
        ethernet: 1,
        hook: 0,
        no_write_back: 0,
        port_ranges: 0,
        ports: [PortRange { first: 0, last: 0 }; MAX_PORT_RANGES],
        unsure_flow_bytes: 1 << 20,
        steps: 3000,
        count_skbs: 0,
        decap: 0,
        snippet: Snippet::NONE,
    };
}
