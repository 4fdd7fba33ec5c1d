//! A second link between the two ends of a [`Pair`], for chosen packets that an observer of the first must
//! not see.

use std::process::Command;

use anyhow::Result;

use crate::netns::{Namespace, Pair};
use crate::routed::nft;

/// Mark of packets that take the detour (`meta mark set` in a chain of type `route`).
pub const MARK: u32 = 77;

/// Adds the link `veth1` and the routing rule for marked packets.
pub fn add(pair: &Pair) -> Result<()> {
    pair.client.link("veth1", &pair.server, "veth1", 1500)?;
    for namespace in [&pair.client, &pair.server] {
        namespace.ip("link set veth1 up")?;
        namespace.ip("route add 10.77.0.0/24 dev veth1 table 77")?;
        namespace.ip(&format!("rule add fwmark {MARK} lookup 77"))?;
        // Packets arrive on another link than the one answers would leave by.
        let loose = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done";
        namespace.run(Command::new("sh").args(["-c", loose]))?;
    }
    // No ARP or ND on the link: the answer could take the other one.
    pair.know_link_addresses("veth1")
}

/// From now on, TCP packets of `namespace` that match `which` (nftables) take the detour.
pub fn lead(namespace: &Namespace, which: &str) -> Result<()> {
    nft(
        namespace,
        &format!(
            "table ip detour {{
                chain out {{
                    type route hook output priority mangle;
                    ip protocol tcp {which} meta mark set {MARK}
                }}
            }}"
        ),
    )
}

pub fn end(namespace: &Namespace) -> Result<()> {
    nft(namespace, "delete table ip detour")
}
