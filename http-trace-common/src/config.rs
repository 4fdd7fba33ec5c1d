//! Settings that the loader gives the program, as one read-only global. Sizes are set as map sizes.

use bytemuck::{Pod, Zeroable};

/// Limits of the filter, read-only once the program is loaded. All integers are in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FilterConfig {
    /// Derived by the loader from the cookie of the network namespace; the same at every hook of a
    /// namespace.
    pub netns: u32,
    /// 1 if a frame begins with an Ethernet header, 0 if with an IP header.
    pub ethernet: u8,
    /// The number of the [`crate::record::Hook`].
    pub hook: u8,
    /// 1 to leave the flow unchanged (so that a benchmark can repeat one packet).
    pub no_write_back: u8,
    /// Number of valid entries in `ports`; 0 for every port.
    pub port_ranges: u8,
    /// Inclusive ranges of server ports to follow.
    pub ports: [PortRange; MAX_PORT_RANGES],
    /// Bytes that an `Unsure` direction may ship before it uses the shared budget.
    pub unsure_flow_bytes: u32,
    /// Steps of the framer per skb, after which the rest of the skb ships as it is.
    pub steps: u32,
    /// 1 to count segments that are non-linear, GSO or GRO super-packets, or without a link-layer
    /// header. With 0 the program saves the reads.
    pub count_skbs: u32,
    /// Tunnels to look into, and whether VLAN tags are reported: bits of [`decap`].
    pub decap: u32,
    /// How many bytes of which response bodies ship.
    pub snippet: Snippet,
}

/// Which interfaces the hooks accept that see all of them, and those of other network namespaces.
pub mod limit {
    /// All.
    pub const NONE: u8 = 0;
    /// Those of the agent's own network namespace that were named.
    pub const NAMED: u8 = 1;
    /// All but those of the agent's own network namespace that were excluded.
    pub const EXCLUDED: u8 = 2;
}

/// Bits of [`FilterConfig::decap`].
pub mod decap {
    /// VXLAN (RFC 7348) on UDP port 4789, or 8472 as in Linux.
    pub const VXLAN: u32 = 1 << 0;
    /// IPv4 and IPv6 in IPv4 and IPv6 (RFC 2003, 2473, 4213).
    pub const IPIP: u32 = 1 << 1;
    /// Segments in VXLAN networks with different VNIs may belong to one connection, for example if
    /// each direction is routed into the network of its receiver. Equal tuples in two networks are
    /// not distinguished.
    pub const JOINED: u32 = 1 << 2;
    /// Any tunnel: packets without TCP are looked into.
    pub const TUNNELS: u32 = VXLAN | IPIP;
    /// VLAN tags (IEEE 802.1Q, 802.1ad) are reported, and equal tuples in two VLANs are distinguished.
    pub const VLAN: u32 = 1 << 3;
}

/// Which response bodies ship, by status code, and how many of their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Snippet {
    /// Number of bytes, up to [`MAX_SNIPPET`]; 0 for none.
    pub bytes: u32,
    /// One bit per status code whose bodies ship.
    pub statuses: [u32; 32],
}

/// Maximum number of body bytes that ship.
pub const MAX_SNIPPET: u32 = 4096;

impl Snippet {
    /// No body ships.
    pub const NONE: Snippet = Snippet { bytes: 0, statuses: [0; 32] };

    /// Ships the bodies of this status code too.
    pub fn add(&mut self, status: u16) {
        if let Some(word) = self.statuses.get_mut(usize::from(status >> 5)) {
            *word |= 1 << (status & 31);
        }
    }

    /// Number of bytes that ship of the body of a response with `status`.
    #[inline(always)]
    pub const fn of(&self, status: u32) -> u32 {
        let word = self.statuses[(status >> 5 & 31) as usize];
        if word >> (status & 31) & 1 != 0 { self.bytes } else { 0 }
    }
}

/// Maximum number of port ranges.
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
    /// Every port, Ethernet frames, the default budgets.
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
