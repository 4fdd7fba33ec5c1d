//! Three namespaces: a client, a router that masquerades and forwards a port (nftables), and a
//! server behind the router's bridge.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::need::program;
use crate::netns::Namespace;

/// Port of the router that is forwarded to [`SERVED`].
pub const ASKED: u16 = 18_080;
/// Port of the server.
pub const SERVED: u16 = 18_081;

const CLIENT: &str = "10.88.1.2";
const OUTSIDE: &str = "10.88.1.1";
const INSIDE: &str = "10.88.2.1";
const SERVER: &str = "10.88.2.2";

/// The namespaces. The router has `wan` towards the client, and `lan` towards the server as a port of the
/// bridge `br0`.
#[derive(Debug)]
pub struct Routed {
    /// Clients run here; the router is at the other end of `eth0`.
    pub client: Namespace,
    pub router: Namespace,
    /// Servers run here; the router is at the other end of `eth0`, and there is no other route.
    pub server: Namespace,
}

impl Routed {
    /// Creates the namespaces, their links and the translations.
    pub fn new() -> Result<Self> {
        let net = Routed {
            client: Namespace::new("client")?,
            router: Namespace::new("router")?,
            server: Namespace::new("server")?,
        };
        for (end, name) in [(&net.client, "wan"), (&net.server, "lan")] {
            end.link("eth0", &net.router, name, 1500)?;
        }
        for (namespace, commands) in [
            (
                &net.client,
                vec![format!("address add {CLIENT}/24 dev eth0"), "link set eth0 up".into()],
            ),
            (
                &net.router,
                vec![
                    "link add br0 type bridge".into(),
                    "link set lan master br0".into(),
                    format!("address add {OUTSIDE}/24 dev wan"),
                    format!("address add {INSIDE}/24 dev br0"),
                    "link set wan up".into(),
                    "link set lan up".into(),
                    "link set br0 up".into(),
                ],
            ),
            (
                &net.server,
                vec![format!("address add {SERVER}/24 dev eth0"), "link set eth0 up".into()],
            ),
        ] {
            for command in commands {
                namespace.ip(&command)?;
            }
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        net.router.run(Command::new("sh").args(["-c", forward]))?;
        nft(
            &net.router,
            &format!(
                "table ip translations {{
                    chain before {{
                        type nat hook prerouting priority dstnat;
                        ip daddr {OUTSIDE} tcp dport {ASKED} dnat to {SERVER}:{SERVED}
                    }}
                    chain after {{
                        type nat hook postrouting priority srcnat;
                        oifname br0 masquerade
                    }}
                }}"
            ),
        )?;
        Ok(net)
    }

    /// Address that clients connect to.
    pub fn front(&self) -> SocketAddr {
        SocketAddr::new(OUTSIDE.parse().expect("an address"), ASKED)
    }

    /// Address of the server.
    pub fn back(&self) -> SocketAddr {
        SocketAddr::new(SERVER.parse().expect("an address"), SERVED)
    }
}

/// Loads nftables rules into a namespace.
pub fn nft(namespace: &Namespace, rules: &str) -> Result<()> {
    use std::io::Write;
    let nft = program("nft").context("nft is not installed")?;
    let mut child = namespace
        .enter(|| {
            Command::new(nft).args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()
        })?
        .context("start nft")?;
    child.stdin.take().context("stdin is a pipe")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    anyhow::ensure!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
