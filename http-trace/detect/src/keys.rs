//! Computes the key that an event is counted under: the keyed hash of the fields that a correlation groups
//! by, and of those whose distinct values it counts.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::field::Field;
use super::hashes::Hashes;
use super::rule::{Correlation, Kind, MOST_INPUTS, Rule};
use super::view::{Value, View};
use http_trace_model::known::to_lower;

/// A field to hash, and the prefix length that its IPv6 addresses are reduced to.
type Part = (Field, u8);

/// Parts that are hashed together, by index.
type List = Box<[usize]>;

/// The keys of the current event, for a list of correlations.
#[derive(Debug)]
pub struct Keys {
    parts: Parts,
    /// For each correlation the list of each input; a single one if all inputs have the same.
    groups: Vec<Box<[List]>>,
    /// For each correlation the list of which it counts distinct values.
    values: Vec<Option<List>>,
}

/// All fields that are hashed, each at most once per event.
#[derive(Debug, Default)]
struct Parts {
    hashes: Hashes,
    all: Vec<Part>,
    /// For each part the event it was hashed for, and the hash, if that event has the field.
    known: Vec<(u64, Option<u64>)>,
    event: u64,
}

impl Parts {
    /// The indexes of fields; appends those that are new.
    fn list<'f>(&mut self, fields: impl Iterator<Item = &'f Field>, ipv6_prefix: u8) -> List {
        let place = |field: &Field| {
            let prefix = if field.is_address() { ipv6_prefix } else { 128 };
            let part = (field.clone(), prefix);
            let known = self.all.iter().position(|known| *known == part);
            known.unwrap_or_else(|| {
                self.all.push(part);
                self.known.push((0, None));
                self.all.len() - 1
            })
        };
        fields.map(place).collect()
    }

    /// The hash of a list; `None` if the event lacks one of its fields.
    fn hash(&mut self, list: &[usize], view: &View<'_>) -> Option<u64> {
        let Some((first, others)) = list.split_first() else { return Some(0) };
        let first = self.one(*first, view)?;
        others.iter().try_fold(first, |all, part| {
            let one = self.one(*part, view)?;
            Some(self.hashes.mix(all, one))
        })
    }

    fn one(&mut self, part: usize, view: &View<'_>) -> Option<u64> {
        let (event, hash) = self.known[part];
        if event == self.event {
            return hash;
        }
        let (field, ipv6_prefix) = &self.all[part];
        let hash = hash_field(&self.hashes, field, *ipv6_prefix, view);
        self.known[part] = (self.event, hash);
        hash
    }
}

impl Keys {
    /// For these correlations, in order.
    pub fn new(rules: &[Arc<Rule>], correlations: &[Correlation]) -> Self {
        let mut parts = Parts::default();
        let (mut groups, mut values) = (Vec::new(), Vec::new());
        for correlation in correlations {
            let ipv6_prefix = rules.get(correlation.rule).map_or(128, |r| r.ipv6_prefix);
            let inputs = 0..correlation.inputs.len().clamp(1, MOST_INPUTS);
            let of_input = |input| {
                let all = correlation.group_by.iter();
                let fields = all.filter_map(|group| group.of.get(input).or(group.of.first()));
                parts.list(fields, ipv6_prefix)
            };
            let mut of_inputs: Vec<List> = inputs.map(of_input).collect();
            if of_inputs.iter().all(|list| Some(list) == of_inputs.first()) {
                of_inputs.truncate(1);
            }
            groups.push(of_inputs.into());
            values.push(match &correlation.kind {
                Kind::ValueCount(fields) => Some(parts.list(fields.iter(), 128)),
                _ => None,
            });
        }
        Keys { parts, groups, values }
    }

    /// Uses this hash function from now on, so that existing keys remain valid.
    pub fn hash_as(&mut self, hashes: Hashes) {
        self.parts.hashes = hashes;
        self.begin();
    }

    pub const fn hashes(&self) -> &Hashes {
        &self.parts.hashes
    }

    /// Starts the next event.
    pub const fn begin(&mut self) {
        self.parts.event += 1;
    }

    /// The hash of the event's group in a correlation, for the input with this number; `None` if the event
    /// lacks a field to group by.
    pub fn group(&mut self, correlation: usize, input: usize, view: &View<'_>) -> Option<u64> {
        let lists = self.groups.get(correlation)?;
        self.parts.hash(lists.get(input).or(lists.first())?, view)
    }

    /// The hash of the value that a correlation counts distinct ones of.
    pub fn value(&mut self, correlation: usize, view: &View<'_>) -> Option<u64> {
        self.parts.hash(self.values.get(correlation)?.as_ref()?, view)
    }
}

/// The hash of an event's value of a field. Equal values have equal hashes whatever their field, because
/// inputs may group by different fields.
pub fn hash_field(hashes: &Hashes, field: &Field, ipv6_prefix: u8, view: &View<'_>) -> Option<u64> {
    let address = |ip| hashes.number(network(ip, ipv6_prefix));
    Some(match field {
        Field::ClientIp if view.event.client_name.is_none() => address(view.event.client_ip()),
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
            let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix)).unwrap_or(0);
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
