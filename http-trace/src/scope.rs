//! Limits what is traced: ports and networks. What is out of scope is not followed, so rules and metrics do
//! not see it; [`crate::select`] limits only what is written.
//!
//! Ports, peers and servers are known for each packet; the client is known only for an event, because a
//! trusted proxy may forward for others.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use http_trace_common::config::PortRange;
use http_trace_common::record::RecordHeader;
use ipnet::IpNet;

use crate::enrich::proxy::Trusted;
use crate::select::Choice;
use http_trace_model::event::{Endpoint, HttpEvent};

/// Limits on the two ends of a connection. Empty lists limit nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub ports: Vec<PortRange>,
    pub clients: Choice<IpNet>,
    /// A peer is a client, or a proxy in front of it.
    pub peers: Choice<IpNet>,
    pub servers: Choice<IpNet>,
}

impl Scope {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        let networks = [&self.clients, &self.peers, &self.servers];
        self.ports.is_empty() && networks.iter().all(|networks| networks.is_empty())
    }

    /// Whether a record may belong to a connection in scope. Either end may be the server, which a record
    /// does not show, and any client may be behind a trusted proxy.
    pub fn admits_record(&self, record: &RecordHeader, trusted: &Trusted) -> bool {
        if self.is_unlimited() {
            return true;
        }
        let source = Endpoint { ip: address(record.src), port: record.src_port };
        let destination = Endpoint { ip: address(record.dst), port: record.dst_port };
        let may_be = |peer: Endpoint, server| {
            self.admits(peer, server)
                && (trusted.contains(peer.ip) || within(&self.clients, peer.ip))
        };
        may_be(source, destination) || may_be(destination, source)
    }

    pub fn admits_event(&self, event: &HttpEvent) -> bool {
        self.is_unlimited()
            || self.admits(event.client, event.server) && within(&self.clients, event.client_ip())
    }

    fn admits(&self, peer: Endpoint, server: Endpoint) -> bool {
        let port = self.ports.is_empty()
            || self.ports.iter().any(|r| (r.first..=r.last).contains(&server.port));
        // A server unknown to the recording only satisfies exclusions.
        let at_server = match server.known_ip() {
            Some(ip) => within(&self.servers, ip),
            None => self.servers.included().next().is_none(),
        };
        port && within(&self.peers, peer.ip) && at_server
    }
}

fn within(networks: &Choice<IpNet>, ip: IpAddr) -> bool {
    networks.admits(|network| network.contains(&ip))
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

impl fmt::Display for Scope {
    /// Formats the limits as options, for the start line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.ports.is_empty() {
            let ports: Vec<String> = self
                .ports
                .iter()
                .map(|r| match r.first == r.last {
                    true => r.first.to_string(),
                    false => format!("{}-{}", r.first, r.last),
                })
                .collect();
            let is_one = matches!(&self.ports[..], [port] if port.first == port.last);
            let name = if is_one { "port" } else { "ports" };
            parts.push(format!("{name} {}", ports.join(",")));
        }
        for (name, networks) in
            [("clients", &self.clients), ("peers", &self.peers), ("servers", &self.servers)]
        {
            if !networks.is_empty() {
                let all: Vec<String> = networks
                    .0
                    .iter()
                    .map(|(excluded, n)| format!("{}{n}", if *excluded { "!" } else { "" }))
                    .collect();
                parts.push(format!("{name} {}", all.join(",")));
            }
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_model::event::Forwarded;
    use http_trace_samples as testing;

    fn networks(list: &[&str]) -> Choice<IpNet> {
        let network = |text: &&str| {
            let (not, rest) = http_trace_model::value::negated(text);
            (not, http_trace_model::value::network(rest).expect("a network"))
        };
        Choice(list.iter().map(network).collect())
    }

    fn record(source: [u8; 4], destination: [u8; 4]) -> RecordHeader {
        let mut record: RecordHeader = bytemuck::Zeroable::zeroed();
        record.src = http_trace_common::flow::v4_mapped(source);
        record.dst = http_trace_common::flow::v4_mapped(destination);
        record
    }

    fn scope(ports: &[(u16, u16)], clients: &[&str], servers: &[&str]) -> Scope {
        Scope {
            ports: ports
                .iter()
                .map(|(first, last)| PortRange { first: *first, last: *last })
                .collect(),
            clients: networks(clients),
            servers: networks(servers),
            ..Scope::default()
        }
    }

    #[test]
    fn a_client_is_who_asked_and_a_peer_who_connects() {
        // The proxy 10.1.2.3 forwards for 192.0.2.9.
        let mut event = testing::event();
        event.forwarded = Some(Forwarded { ip: [192, 0, 2, 9].into(), port: None });
        let record = record([10, 1, 2, 3], [10, 9, 9, 9]);
        let proxy = Trusted::with([http_trace_model::value::network("10.1.2.3").expect("one")]);
        let nobody = Trusted::only(Vec::new());
        for (client, peer, of_event, of_record, of_record_without_trust) in [
            ("192.0.2.0/24", None, true, true, false),
            ("!192.0.2.0/24", None, false, true, true),
            ("10.1.2.3", None, false, true, true),
            ("192.0.2.0/24", Some("10.1.2.3"), true, true, false),
            ("192.0.2.0/24", Some("192.0.2.0/24"), false, false, false),
            ("192.0.2.0/24", Some("!10.1.2.3"), false, false, false),
        ] {
            let mut scope = scope(&[], &[client], &[]);
            scope.peers = networks(peer.as_slice());
            assert_eq!(scope.admits_event(&event), of_event, "{scope}");
            assert_eq!(scope.admits_record(&record, &proxy), of_record, "{scope}");
            let without = scope.admits_record(&record, &nobody);
            assert_eq!(without, of_record_without_trust, "{scope}");
        }
    }

    #[test]
    fn limits_apply_to_the_server_port_and_both_networks() {
        // The event's client is 10.1.2.3:50000, its server 10.9.9.9:80.
        let event = testing::event();
        for (scope, expected) in [
            (scope(&[], &[], &[]), true),
            (scope(&[(80, 80)], &[], &[]), true),
            (scope(&[(8000, 8099), (1, 100)], &[], &[]), true),
            (scope(&[(50000, 50000)], &[], &[]), false),
            (scope(&[], &["10.1.0.0/16"], &[]), true),
            (scope(&[], &["10.9.0.0/16"], &[]), false),
            (scope(&[], &["!10.1.2.3"], &[]), false),
            (scope(&[], &["!10.1.2.4"], &[]), true),
            (scope(&[], &["10.0.0.0/8", "!10.1.0.0/16"], &[]), false),
            (scope(&[], &[], &["10.9.9.9"]), true),
            (scope(&[], &[], &["fd00::/8"]), false),
        ] {
            assert_eq!(scope.admits_event(&event), expected, "{scope}");
        }
    }

    #[test]
    fn a_record_is_admitted_in_either_direction() {
        let mut record = record([10, 9, 9, 9], [10, 1, 2, 3]);
        (record.src_port, record.dst_port) = (80, 50000);
        let limited = scope(&[(80, 80)], &["10.1.0.0/16"], &[]);
        let nobody = Trusted::only(Vec::new());
        assert!(limited.admits_record(&record, &nobody));
        std::mem::swap(&mut record.src, &mut record.dst);
        std::mem::swap(&mut record.src_port, &mut record.dst_port);
        assert!(limited.admits_record(&record, &nobody));
        record.dst_port = 81;
        assert!(!limited.admits_record(&record, &nobody));
    }
}
