//! Whom an event is counted for: the keyed hash of the fields that a correlation groups by, and of those
//! whose distinct values it counts.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::field::Field;
use super::hashes::Hashes;
use super::rule::{Correlation, Kind, MOST_INPUTS, Rule};
use super::view::{Value, View};
use http_trace_model::known::to_lower;

/// A field to hash, with the prefix by which its IPv6 addresses count as one.
type Part = (Field, u8);

/// The keys of the event at hand, for a list of correlations. What several count by is hashed once.
#[derive(Debug)]
pub struct Keys {
    hashes: Hashes,
    /// What is hashed together.
    lists: Vec<Box<[Part]>>,
    /// For each correlation the list of each input; one, when all have the same.
    groups: Vec<Box<[usize]>>,
    /// For each correlation the list whose distinct values it counts.
    values: Vec<Option<usize>>,
    /// For each list its hash, and the event that it is of.
    list_hashes: Vec<OfEvent>,
    event: u64,
}

/// A hash, if the event has what is hashed, and the number of the event.
type OfEvent = (u64, Option<u64>);

/// The place of an item in a list, added if it is not there.
fn place<T: PartialEq>(all: &mut Vec<T>, item: T) -> usize {
    let known = all.iter().position(|known| *known == item);
    known.unwrap_or_else(|| {
        all.push(item);
        all.len() - 1
    })
}

impl Keys {
    /// For these correlations, in order.
    pub fn new(rules: &[Arc<Rule>], correlations: &[Correlation]) -> Self {
        let mut lists = Vec::new();
        let mut list = |fields: &mut dyn Iterator<Item = &Field>, ipv6_prefix| {
            let fields = fields.map(|field| {
                let prefix = if field.is_address() { ipv6_prefix } else { 128 };
                (field.clone(), prefix)
            });
            place(&mut lists, fields.collect())
        };
        let (mut groups, mut values) = (Vec::new(), Vec::new());
        for correlation in correlations {
            let ipv6_prefix = rules.get(correlation.rule).map_or(128, |r| r.ipv6_prefix);
            let inputs = 0..correlation.inputs.len().clamp(1, MOST_INPUTS);
            let mut of_inputs: Vec<usize> = inputs
                .map(|input| {
                    let all = correlation.group_by.iter();
                    let fields = all.filter_map(|group| group.of.get(input).or(group.of.first()));
                    list(&mut { fields }, ipv6_prefix)
                })
                .collect();
            if of_inputs.iter().all(|list| Some(list) == of_inputs.first()) {
                of_inputs.truncate(1);
            }
            groups.push(of_inputs.into());
            values.push(match &correlation.kind {
                Kind::ValueCount(fields) => Some(list(&mut fields.iter(), 128)),
                _ => None,
            });
        }
        Keys {
            hashes: Hashes::default(),
            list_hashes: vec![(0, None); lists.len()],
            lists,
            groups,
            values,
            event: 0,
        }
    }

    /// Hashes like these from now on, so that what was counted under their keys goes on.
    pub fn hash_as(&mut self, hashes: Hashes) {
        self.hashes = hashes;
        self.event += 1;
    }

    /// What is hashed with.
    pub const fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The next event.
    pub const fn begin(&mut self) {
        self.event += 1;
    }

    /// The hash of the event's group under a correlation to which it is the input of that number;
    /// `None` when the event lacks a field to group by.
    pub fn group(&mut self, correlation: usize, input: usize, view: &View<'_>) -> Option<u64> {
        let lists = self.groups.get(correlation)?;
        self.hash(*lists.get(input).or(lists.first())?, view)
    }

    /// The hash of the value of which a correlation counts distinct ones.
    pub fn value(&mut self, correlation: usize, view: &View<'_>) -> Option<u64> {
        self.hash((*self.values.get(correlation)?)?, view)
    }

    fn hash(&mut self, list: usize, view: &View<'_>) -> Option<u64> {
        let (event, hash) = self.list_hashes[list];
        if event == self.event {
            return hash;
        }
        let hash =
            |(field, ipv6_prefix): &Part| hash_field(&self.hashes, field, *ipv6_prefix, view);
        let mut parts = self.lists[list].iter();
        let first = parts.next().map_or(Some(0), hash);
        let hash = first.and_then(|first| {
            parts.try_fold(first, |all, part| Some(self.hashes.mix(all, hash(part)?)))
        });
        self.list_hashes[list] = (self.event, hash);
        hash
    }
}

/// The hash of what an event has under a field. The same value is hashed alike whatever field it is of:
/// inputs may group by different ones.
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

/// The network that an address is counted as: an IPv6 site, an IPv4 address.
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

/// That network as text; an address stays one.
pub fn network_text(ip: IpAddr, ipv6_prefix: u8) -> String {
    match ip.to_canonical() {
        IpAddr::V6(ip) if ipv6_prefix < 128 => {
            let network = Ipv6Addr::from_bits(network(ip.into(), ipv6_prefix));
            format!("{network}/{ipv6_prefix}")
        }
        ip => ip.to_string(),
    }
}
