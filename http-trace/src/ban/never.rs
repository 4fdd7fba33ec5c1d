//! Addresses that must not be banned: those of this host and of its gateways. Reads `/proc/net`; knows no
//! client.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How long a result is valid: addresses come and go with interfaces.
const FRESH: Duration = Duration::from_secs(5);

const OURS: &str = "it is an address of this host";
const GATEWAY: &str = "it is a gateway of this host";

/// The addresses, and when they were read.
#[derive(Debug, Default)]
pub struct Never {
    read: Option<Instant>,
    addresses: Vec<(IpAddr, &'static str)>,
}

impl Never {
    /// Exactly these addresses, for an hour.
    #[cfg(test)]
    pub fn of(addresses: Vec<(IpAddr, &'static str)>) -> Self {
        Never { read: Some(Instant::now() + Duration::from_secs(3600)), addresses }
    }

    /// Why an address must not be banned, if so.
    pub fn reason(&mut self, ip: IpAddr) -> Option<&'static str> {
        if ip.is_loopback() {
            return Some(OURS);
        }
        if ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST {
            return Some("it is not a unicast address");
        }
        if self.read.is_none_or(|read| read.elapsed() > FRESH) {
            self.read = Some(Instant::now());
            self.addresses = read();
        }
        let found = self.addresses.iter().find(|(address, _)| *address == ip);
        found.map(|(_, reason)| *reason)
    }
}

fn read() -> Vec<(IpAddr, &'static str)> {
    let text = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let ours = ours_v4(&text("fib_trie")).into_iter();
    let ours = ours.chain(ours_v6(&text("if_inet6"))).map(|ip| (ip, OURS));
    let gateways = gateways_v4(&text("route")).into_iter();
    let gateways = gateways.chain(gateways_v6(&text("ipv6_route")));
    ours.chain(gateways.map(|ip| (ip, GATEWAY))).collect()
}

/// Parses the local addresses in `/proc/net/fib_trie`: a leaf (`|-- ADDRESS`), followed by its routes
/// (`/32 host LOCAL`; net/ipv4/fib_trie.c).
fn ours_v4(text: &str) -> Vec<IpAddr> {
    let mut leaf = None;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf.map(IpAddr::from));
        }
    }
    found
}

/// Parses the addresses in `/proc/net/if_inet6`: a line begins with 32 hexadecimal digits
/// (net/ipv6/addrconf.c).
fn ours_v6(text: &str) -> Vec<IpAddr> {
    let first = text.lines().filter_map(|line| line.split(' ').next());
    first.filter_map(v6).collect()
}

/// Parses the gateways in `/proc/net/route`: the third column, a number in host byte order
/// (net/ipv4/fib_trie.c).
fn gateways_v4(text: &str) -> Vec<IpAddr> {
    let third = text.lines().filter_map(|line| line.split('\t').nth(2));
    let numbers = third.filter_map(|hex| u32::from_str_radix(hex, 16).ok());
    let addresses = numbers.map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    addresses.filter(|ip| !ip.is_unspecified()).map(IpAddr::from).collect()
}

/// Parses the gateways in `/proc/net/ipv6_route`: the fifth column (net/ipv6/route.c).
fn gateways_v6(text: &str) -> Vec<IpAddr> {
    let fifth = text.lines().filter_map(|line| line.split(' ').nth(4));
    fifth.filter_map(v6).filter(|ip| !ip.is_unspecified()).collect()
}

fn v6(hex: &str) -> Option<IpAddr> {
    let number = u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32);
    number.map(|number| Ipv6Addr::from(number).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_lists_is_read() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    \x20    +-- 10.1.0.0/16 2 0 2\n        |-- 10.1.0.0\n           /16 link UNICAST\n\
                    \x20       |-- 10.1.0.7\n           /32 host LOCAL\n        |-- 10.1.255.255\n\
                    \x20          /32 link BROADCAST\n";
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(ours_v4(trie), [ip("10.1.0.7")]);
        let inet6 = "fe80000000000000a8aae8fffe0d4a44 02 40 20 80     eth0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\nx\n";
        assert_eq!(ours_v6(inet6), [ip("fe80::a8aa:e8ff:fe0d:4a44"), ip("::1")]);
        let route = "Iface\tDestination\tGateway \tFlags\n\
                     eth0\t00000000\t0101010A\t0003\neth0\t0000010A\t00000000\t0001\n";
        #[cfg(target_endian = "little")]
        assert_eq!(gateways_v4(route), [ip("10.1.1.1")]);
        let route = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                     fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n\
                     fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
                     00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n";
        assert_eq!(gateways_v6(route), [ip("fe80::1")]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_host_is_never_banned() {
        for address in ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "255.255.255.255"] {
            let address: IpAddr = address.parse().expect("an address");
            assert!(Never::default().reason(address).is_some(), "{address}");
        }
        for (address, reason) in read() {
            assert!(Never::default().reason(address).is_some(), "{reason}");
        }
        let elsewhere: IpAddr = "192.0.2.77".parse().expect("an address");
        assert_eq!(Never::default().reason(elsewhere), None);
    }
}
