//! Networks that an address may be in, as bits to be compared: rules ask this of every error, and
//! without the bits made ready it took 38 instructions a network.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Networks of both families.
pub struct Networks {
    all: Box<[IpNet]>,
    /// Mask and what is left under it.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl fmt::Debug for Networks {
    /// What they are: [`super::fingerprint`] is made of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

impl From<Vec<IpNet>> for Networks {
    fn from(all: Vec<IpNet>) -> Self {
        let v4 = all.iter().filter_map(|net| match net {
            IpNet::V4(net) => Some((net.netmask().to_bits(), net.network().to_bits())),
            IpNet::V6(_) => None,
        });
        let v6 = all.iter().filter_map(|net| match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some((net.netmask().to_bits(), net.network().to_bits())),
        });
        Networks {
            v4: v4.collect(),
            v6: v6.collect(),
            all: all.into(),
        }
    }
}

impl Networks {
    /// Whether an address is in one of them; of either family only in its own.
    pub fn contain(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self
                .v4
                .iter()
                .any(|(mask, net)| ip.to_bits() & mask == *net),
            IpAddr::V6(ip) => self
                .v6
                .iter()
                .any(|(mask, net)| ip.to_bits() & mask == *net),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_the_networks_that_they_are_in() {
        let texts = [
            "10.0.0.0/8",
            "192.0.2.7/32",
            "fe80::/10",
            "::1/128",
            "0.0.0.0/1",
        ];
        let all: Vec<IpNet> = texts.map(|net| net.parse().expect("a network")).into();
        for from in 0..=all.len() {
            let some = all[from..].to_vec();
            let networks = Networks::from(some.clone());
            for ip in [
                "10.255.0.1",
                "11.0.0.1",
                "192.0.2.7",
                "192.0.2.6",
                "fe80::1",
                "febf::",
                "fec0::",
                "::1",
                "::2",
                "::ffff:10.0.0.1",
                "127.0.0.1",
                "128.0.0.1",
                "0.0.0.0",
            ] {
                let ip: IpAddr = ip.parse().expect("an address");
                let expected = some.iter().any(|net| net.contains(&ip));
                assert_eq!(networks.contain(ip), expected, "{ip} in {some:?}");
            }
        }
    }
}
