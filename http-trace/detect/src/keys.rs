//! Computes the key that an event is counted under: the keyed hash of the fields that a correlation groups
//! by, and of those whose distinct values it counts.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::field::Field;
use super::hashes::Hashes;
use super::rule::{Correlation, Kind, MOST_INPUTS, Rule};
use super::view::{Value, View};
use http_trace_model::known::to_lower;

/// The keys of the current event, for a list of correlations.
#[derive(Debug, Default)]
pub struct Keys {
    hashes: Hashes,
    /// Lists of fields that are hashed together, and the prefix length that their IPv6 addresses are reduced to.
    lists: Vec<(Vec<Field>, u8)>,
    /// For each list the event it was hashed for, and the hash, if that event has all fields.
    known: Vec<(u64, Option<u64>)>,
    event: u64,
    /// For each correlation the list of each input.
    groups: Vec<Vec<usize>>,
    /// For each correlation the list of which it counts distinct values.
    values: Vec<Option<usize>>,
}

impl Keys {
    /// For these correlations, in order.
    pub fn new(rules: &[Arc<Rule>], correlations: &[Correlation]) -> Self {
        let mut keys = Keys::default();
        for correlation in correlations {
            let ipv6_prefix = rules.get(correlation.rule).map_or(128, |r| r.ipv6_prefix);
            let inputs = 0..correlation.inputs.len().clamp(1, MOST_INPUTS);
            let of_input = |input| {
                let all = correlation.group_by.iter();
                let fields = all.filter_map(|group| group.of.get(input).or(group.of.first()));
                keys.list(fields.cloned().collect(), ipv6_prefix)
            };
            let of_inputs = inputs.map(of_input).collect();
            keys.groups.push(of_inputs);
            let value = match &correlation.kind {
                Kind::ValueCount(fields) => Some(keys.list(fields.to_vec(), 128)),
                _ => None,
            };
            keys.values.push(value);
        }
        keys
    }

    /// The number of a list, which is appended if it is new.
    fn list(&mut self, fields: Vec<Field>, ipv6_prefix: u8) -> usize {
        let list = (fields, ipv6_prefix);
        let known = self.lists.iter().position(|known| *known == list);
        known.unwrap_or_else(|| {
            self.lists.push(list);
            self.known.push((0, None));
            self.lists.len() - 1
        })
    }

    /// The hash of a list; `None` if the event lacks one of its fields.
    fn hash(&mut self, list: usize, view: &View<'_>) -> Option<u64> {
        let (event, hash) = self.known[list];
        if event == self.event {
            return hash;
        }
        let (fields, ipv6_prefix) = &self.lists[list];
        let one = |field| hash_field(&self.hashes, field, *ipv6_prefix, view);
        let hash = match fields.split_first() {
            None => Some(0),
            Some((first, others)) => one(first).and_then(|first| {
                let mut others = others.iter();
                others.try_fold(first, |all, field| Some(self.hashes.mix(all, one(field)?)))
            }),
        };
        self.known[list] = (self.event, hash);
        hash
    }

    /// Uses this hash function from now on, so that existing keys remain valid.
    pub fn hash_as(&mut self, hashes: Hashes) {
        self.hashes = hashes;
        self.begin();
    }

    /// The hash function.
    pub const fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Starts the next event.
    pub const fn begin(&mut self) {
        self.event += 1;
    }

    /// The hash of the event's group in a correlation, for the input with this number; `None` if the event
    /// lacks a field to group by.
    pub fn group(&mut self, correlation: usize, input: usize, view: &View<'_>) -> Option<u64> {
        let lists = self.groups.get(correlation)?;
        self.hash(*lists.get(input).or(lists.first())?, view)
    }

    /// The hash of the value that a correlation counts distinct ones of.
    pub fn value(&mut self, correlation: usize, view: &View<'_>) -> Option<u64> {
        self.hash((*self.values.get(correlation)?)?, view)
    }
}

/// The hash of an event's value of a field. Equal values have equal hashes whatever their field, because
/// inputs may group by different fields.
pub fn hash_field(hashes: &Hashes, field: &Field, ipv6_prefix: u8, view: &View<'_>) -> Option<u64> {
    let address = |ip| hashes.number(network(ip, ipv6_prefix));
    Some(match field {
        Field::ClientIp => address(view.event.client_ip()),
        Field::ServerIp => address(view.event.server.ip),
        Field::ServerPort => hashes.number(view.event.server.port.into()),
        Field::Host => hashes.text(view.target().host?, to_lower),
        Field::Path => hashes.text(view.target().path?, |word| word),
        field => match view.first(field)? {
            Value::Ip(ip) => address(ip),
            Value::Text(text) => hashes.text(text, |word| word),
            Value::Made(text) => hashes.text(&text, |word| word),
            Value::Number(n) => hashes.number(n.into()),
            Value::Bool(yes) => hashes.number(yes.into()),
            other => other.with_text(|text| hashes.text(text, |word| word)),
        },
    })
}

/// The network that an address is counted under: an IPv6 prefix, or an IPv4 address.
pub fn network(ip: IpAddr, ipv6_prefix: u8) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => 0xffff << 32 | u128::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(ipv6_prefix))
                .unwrap_or(0);
            ip.to_bits() & mask
        }
    }
}

/// That network as text; a whole address has no prefix length.
pub fn network_text(ip: IpAddr, ipv6_prefix: u8) -> String {
    match ip.to_canonical() {
        IpAddr::V6(ip) if ipv6_prefix < 128 => {
            let network = Ipv6Addr::from_bits(network(ip.into(), ipv6_prefix));
            format!("{network}/{ipv6_prefix}")
        }
        ip => ip.to_string(),
    }
}
