//! A second link between the two ends of a [`Pair`], by which chosen packets go that nobody on the
//! first is to see.

use std::process::Command;

use anyhow::Result;

use crate::netns::{Namespace, Pair};
use crate::routed::nft;

/// The mark of packets that take it (`meta mark set` in a chain of type `route`).
pub const MARK: u32 = 77;

/// Adds the link `veth1` and the rule that leads marked packets over it.
pub fn add(pair: &Pair) -> Result<()> {
    pair.client.link("veth1", &pair.server, "veth1", 1500)?;
    for namespace in [&pair.client, &pair.server] {
        namespace.ip("link set veth1 up")?;
        namespace.ip("route add 10.77.0.0/24 dev veth1 table 77")?;
        namespace.ip(&format!("rule add fwmark {MARK} lookup 77"))?;
        // Packets come in by another link than answers would leave by.
        let loose = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done";
        namespace.run(Command::new("sh").args(["-c", loose]))?;
    }
    // No question who is behind the link: its answer could take the other one.
    pair.know_link_addresses("veth1")
}

/// From here on, packets that `namespace` sends over TCP and that match `which` (nftables) take the
/// detour.
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

/// From here on none does.
pub fn end(namespace: &Namespace) -> Result<()> {
    nft(namespace, "delete table ip detour")
}
