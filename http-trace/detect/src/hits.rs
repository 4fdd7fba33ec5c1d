//! What each rule has counted: first and last time, how often, for which entities, and on which days (UTC),
//! so that a rule that falls silent is noticed. Bounded: the most recent entities, and about a year of days.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::field::Field;
use super::keys::network_text;
use super::rule::{Correlation, Rule};
use super::view::{Value, View};

/// Maximum number of entities per rule: the ones hit last.
pub const ENTITIES: usize = 100;
/// Maximum number of days.
pub const DAYS: usize = 400;
/// Maximum number of rules.
const RULES: usize = 10_000;
/// Maximum stored length of a value, in bytes: a value of this length may have been cut.
pub const TEXT: usize = 128;

const DAY_NS: u64 = 86_400_000_000_000;

/// Counts and times of hits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// First hit, Unix ns.
    pub first_ns: u64,
    /// Last hit, Unix ns.
    pub last_ns: u64,
    /// Number of responses counted.
    pub count: u64,
    /// Number of alerts opened.
    pub alerts: u64,
    /// Days since 1970-01-01 with hits, and their counts.
    pub days: BTreeMap<u32, u64>,
}

impl Tally {
    fn add(&mut self, time_ns: u64) {
        if self.count == 0 || time_ns < self.first_ns {
            self.first_ns = time_ns;
        }
        self.last_ns = self.last_ns.max(time_ns);
        self.count = self.count.saturating_add(1);
        let day = u32::try_from(time_ns / DAY_NS).unwrap_or(u32::MAX);
        let count = self.days.entry(day).or_default();
        *count = count.saturating_add(1);
        self.keep(DAYS);
    }

    /// Keeps only the last `days` days, at least one.
    fn keep(&mut self, days: usize) {
        while self.days.len() > days.max(1) {
            self.days.pop_first();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfEntity {
    hash: u64,
    /// Values of the fields that the rule groups by, as sent, cut to [`TEXT`] bytes.
    pub values: Vec<Vec<u8>>,
    /// Counts and times.
    pub tally: Tally,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OfRule {
    pub id: String,
    pub fields: Vec<Field>,
    /// Counts and times over all entities.
    pub tally: Tally,
    pub entities: Vec<OfEntity>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hits {
    rules: Vec<OfRule>,
    /// For each correlation the index of its rule.
    #[serde(skip)]
    places: Vec<Option<usize>>,
}

impl Hits {
    /// All rules, with or without hits.
    pub fn all(&self) -> &[OfRule] {
        &self.rules
    }

    /// Hits of these rules, not bound to correlations yet.
    pub(super) fn of(rules: Vec<OfRule>) -> Self {
        Hits { rules, places: Vec::new() }
    }

    /// Counts for these correlations from now on; existing hits of their rules are kept.
    pub fn bind(&mut self, correlations: &[Correlation], rule: impl Fn(usize) -> Option<String>) {
        self.rules.truncate(RULES);
        for of in &mut self.rules {
            of.entities.truncate(ENTITIES);
        }
        self.places.clear();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (at, of) in self.rules.iter().enumerate() {
            known.entry(of.id.clone()).or_insert(at);
        }
        for correlation in correlations {
            let id = rule(correlation.rule).filter(|_| correlation.alerts);
            self.places.push(id.and_then(|id| {
                let fields: Vec<Field> = correlation
                    .group_by
                    .iter()
                    .filter_map(|group| group.of.first().cloned())
                    .collect();
                let at = match known.get(&id) {
                    Some(at) => *at,
                    None if self.rules.len() < RULES => {
                        known.insert(id.clone(), self.rules.len());
                        self.rules.push(OfRule { id, ..OfRule::default() });
                        self.rules.len() - 1
                    }
                    None => return None,
                };
                let of = self.rules.get_mut(at)?;
                if of.fields != fields {
                    // The entities were grouped by other fields.
                    of.entities.clear();
                    of.fields = fields;
                }
                Some(at)
            }));
        }
    }

    /// Counts a response for a correlation, under the key with this hash.
    pub fn count(
        &mut self,
        number: usize,
        hash: u64,
        time_ns: u64,
        opened: bool,
        values: impl FnOnce() -> Vec<Vec<u8>>,
    ) {
        let Some(of) = self.of_correlation(number) else { return };
        of.tally.add(time_ns);
        of.tally.alerts += u64::from(opened);
        let tally = of.entity(hash, values);
        tally.add(time_ns);
        tally.alerts += u64::from(opened);
    }

    /// Counts the opening of an alert at a response that was already counted.
    pub fn opened(&mut self, number: usize, hash: u64) {
        if let Some(of) = self.of_correlation(number) {
            of.tally.alerts += 1;
            of.entity(hash, Vec::new).alerts += 1;
        }
    }

    fn of_correlation(&mut self, number: usize) -> Option<&mut OfRule> {
        let place = self.places.get(number).copied().flatten()?;
        self.rules.get_mut(place)
    }
}

impl OfRule {
    /// Keeps only the entities with the most hits, and only the last days.
    pub fn keep(&mut self, entities: usize, days: usize) {
        let cut = |tally: &mut Tally| tally.keep(days);
        cut(&mut self.tally);
        self.entities.sort_by_key(|e| std::cmp::Reverse(e.tally.count));
        self.entities.truncate(entities);
        self.entities.iter_mut().for_each(|e| cut(&mut e.tally));
    }

    fn entity(&mut self, hash: u64, values: impl FnOnce() -> Vec<Vec<u8>>) -> &mut Tally {
        let entities = &mut self.entities;
        let known = entities.iter().position(|entity| entity.hash == hash);
        let at = known.unwrap_or_else(|| {
            let oldest = |at: &usize| entities[*at].tally.last_ns;
            if entities.len() >= ENTITIES
                && let Some(at) = (0..entities.len()).min_by_key(oldest)
            {
                entities.swap_remove(at);
            }
            entities.push(OfEntity { hash, values: values(), tally: Tally::default() });
            entities.len() - 1
        });
        &mut self.entities[at].tally
    }
}

/// The values of an event in the fields that a correlation groups by.
pub fn values(
    correlation: &Correlation,
    rule: &Rule,
    inputs: u64,
    view: &View<'_>,
) -> Vec<Vec<u8>> {
    let input = inputs.trailing_zeros() as usize;
    let mut values = Vec::with_capacity(correlation.group_by.len());
    for group in &correlation.group_by {
        let field = group.of.get(input).or(group.of.first());
        values.push(match field.and_then(|field| view.first(field)) {
            Some(Value::Ip(ip)) => network_text(ip, rule.ipv6_prefix).into_bytes(),
            Some(value) => value.with_text(|text| text[..text.len().min(TEXT)].to_vec()),
            None => Vec::new(),
        });
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_in_order_and_bounded() {
        let mut tally = Tally::default();
        for (day, hits) in [(5, 3), (7, 1), (6, 2), (4, 1), (7, 1)] {
            (0..hits).for_each(|n| tally.add(day * DAY_NS + n));
        }
        assert_eq!(tally.days, [(4, 1), (5, 3), (6, 2), (7, 2)].into());
        assert_eq!((tally.first_ns, tally.count), (4 * DAY_NS, 8));
        for day in 0..1000 {
            tally.add(day * DAY_NS);
        }
        assert_eq!(tally.days.len(), DAYS);
        assert_eq!(tally.days.last_key_value(), Some((&999, &1)));
    }

    #[test]
    fn of_many_entities_those_hit_last_are_kept() {
        let mut rule = OfRule::default();
        for n in 0..10_000_u64 {
            rule.entity(n, Vec::new).add(n + 1);
            rule.entity(u64::MAX, Vec::new).add(n + 1);
        }
        assert_eq!(rule.entities.len(), ENTITIES);
        // The entity that is hit all the time was never evicted.
        assert_eq!(rule.entity(u64::MAX, Vec::new).count, 10_000);
        assert!(rule.entities.iter().all(|e| e.tally.last_ns > 9_900));
    }
}
