//! What a rule is: its identity, its description, and what it counts. Made by [`crate::rules`] from
//! Sigma files; data only, knows no event and evaluates nothing.
//!
//! # Layout
//! - [`expr`]: the condition of a detection.

pub mod expr;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use self::expr::{Comparison, Expr};
use crate::field::Field;
use crate::summary::Template;

/// The severity of an alert, from 0 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

/// A band of severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 0.
    Informational,
    /// 1–3.
    Low,
    /// 4–6.
    Medium,
    /// 7–8.
    High,
    /// 9–10.
    Critical,
}

impl Level {
    /// All, in ascending order.
    pub const ALL: [Level; 5] = [
        Level::Informational,
        Level::Low,
        Level::Medium,
        Level::High,
        Level::Critical,
    ];

    const NAMES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];

    /// `informational` … `critical`.
    pub const fn name(self) -> &'static str {
        Level::NAMES[self as usize]
    }

    /// The level of a name; `info` is one too.
    pub fn named(name: &str) -> Option<Level> {
        let name = match name {
            "info" => "informational",
            name => name,
        };
        Level::ALL.into_iter().find(|level| level.name() == name)
    }
}

impl Severity {
    /// The lowest.
    pub const INFORMATIONAL: Severity = Severity(0);

    /// From 0 to 10.
    pub fn new(score: u64) -> Option<Self> {
        u8::try_from(score).ok().filter(|s| *s <= 10).map(Severity)
    }

    /// The score of a rule that gives a level and no number.
    pub const fn of(level: Level) -> Self {
        Severity([0, 2, 5, 7, 9][level as usize])
    }

    /// The number.
    pub const fn score(self) -> u8 {
        self.0
    }

    /// The band it is in.
    pub const fn level(self) -> Level {
        match self.0 {
            0 => Level::Informational,
            1..=3 => Level::Low,
            4..=6 => Level::Medium,
            7 | 8 => Level::High,
            _ => Level::Critical,
        }
    }
}

/// The file of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Compiled in, by file name.
    BuiltIn(&'static str),
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn(name) => write!(f, "built-in/{name}"),
            Origin::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// MITRE ATT&CK numbers, from a rule's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threat {
    /// `TA0007`.
    pub tactics: Vec<String>,
    /// `T1595`.
    pub techniques: Vec<String>,
    /// `T1595.001`.
    pub subtechniques: Vec<String>,
}

/// A rule's identity and description, and how its alerts are reported.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, or its id when it has none: unique among all rules.
    pub id: Arc<str>,
    /// The `id` of the file, if that is another: rules may refer to either.
    pub uuid: Option<String>,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// References.
    pub references: Vec<String>,
    /// Severity.
    pub severity: Severity,
    /// Category, such as `Discovery`.
    pub category: Option<String>,
    /// `modified`, or `date`.
    pub version: Option<String>,
    /// From its ATT&CK tags.
    pub threat: Threat,
    /// Roles and the fields whose values have them.
    pub entities: Vec<(String, Field)>,
    /// The text of an alert.
    pub summary: Option<Template>,
    /// Time between updates of an alert, in ns.
    pub suppress_ns: u64,
    /// The most alerts that one client raises on one server within the window or the suppression period,
    /// whichever is longer; more are told as one. 0: one for all of a server.
    pub alert_limit: u64,
    /// The most keys that are tracked at once; more are not admitted, and counted.
    pub group_limit: Option<usize>,
    /// Prefix by which IPv6 addresses group.
    pub ipv6_prefix: u8,
    /// Whether an alert marks its peer as a proxy.
    pub marks_proxy: bool,
    /// Whether alerts are left out of what is shown to a person.
    pub quiet: bool,
    /// Ids of rules whose open alerts about the same entity make one of this rule redundant.
    pub yields_to: Vec<String>,
    /// Its file.
    pub origin: Origin,
    /// Its line in that file, from 1.
    pub line: usize,
}

/// A rule that is evaluated event by event.
#[derive(Debug)]
pub struct Detection {
    /// Its number in [`RuleSet::rules`].
    pub rule: usize,
    /// Its condition.
    pub expr: Expr,
}

/// What a correlation counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Events.
    EventCount,
    /// Distinct values of fields.
    ValueCount(Vec<Field>),
    /// Each of its rules within the window, or a condition over them.
    Temporal(Option<Seen>),
    /// Each of its rules, in their order, within the window.
    TemporalOrdered,
    /// The sum of a field's values.
    ValueSum(Field),
    /// The mean of a field's values.
    ValueAvg(Field),
    /// A percentile (0–100) of a field's values.
    ValuePercentile(Field, u8),
    /// Events of the first rule, which must be so many per cent of those of the second.
    Ratio(u8),
    /// Response times, which must fall into two modes so many times apart.
    TimingSplit(u8),
    /// Statuses that follow one another in an order that is unusual.
    StatusSequence,
    /// Alerts of the rule that open. No file says so.
    Digest,
}

/// A condition over the inputs that were seen, by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This input.
    Input(usize),
    /// All of them.
    All(Vec<Seen>),
    /// At least this many.
    AtLeast(usize, Vec<Seen>),
    /// Not this.
    Not(Box<Seen>),
}

impl Seen {
    /// Whether it holds, given which inputs were seen.
    pub fn holds(&self, seen: &dyn Fn(usize) -> bool) -> bool {
        match self {
            Seen::Input(at) => seen(*at),
            Seen::All(parts) => parts.iter().all(|part| part.holds(seen)),
            Seen::AtLeast(wanted, parts) => {
                parts.iter().filter(|part| part.holds(seen)).count() >= *wanted
            }
            Seen::Not(part) => !part.holds(seen),
        }
    }
}

/// What a correlation takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Events that a detection matches, by its place in [`RuleSet::detections`].
    Detection(usize),
    /// Events at which another correlation's condition holds, by its place.
    Correlation(usize),
}

/// A field to group by; per input when the rule has aliases.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The name in the rule.
    pub name: String,
    /// The field of each input.
    pub of: Vec<Field>,
}

/// A rule that counts what others match.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// Its number in [`RuleSet::rules`].
    pub rule: usize,
    /// What is counted.
    pub kind: Kind,
    /// What it takes in.
    pub inputs: Vec<Input>,
    /// The fields to group by.
    pub group_by: Vec<Group>,
    /// Window in ns.
    pub window_ns: u64,
    /// Comparisons that the count must pass.
    pub condition: Vec<(Comparison, u64)>,
    /// Whether it raises alerts of its own, or only feeds others.
    pub alerts: bool,
    /// Which inputs take back the value that they have, a bit each.
    pub undo: u64,
}

impl Correlation {
    /// Whether an event of these inputs only takes a value back.
    pub const fn undoes(&self, inputs: u64) -> bool {
        inputs & self.undo != 0 && inputs & !self.undo == 0
    }

    /// The lowest count that raises an alert; at least 1.
    pub fn threshold(&self) -> u64 {
        let least = self
            .condition
            .iter()
            .map(|(comparison, n)| match comparison {
                Comparison::Gte | Comparison::Eq => *n,
                Comparison::Gt => n.saturating_add(1),
                Comparison::Lt | Comparison::Lte | Comparison::Ne => 0,
            });
        least.max().unwrap_or(1).max(1)
    }

    /// Whether alerts are told of what it counts.
    pub fn tells(&self) -> bool {
        self.alerts || self.kind == Kind::Digest
    }

    /// Whether a count fulfils the condition.
    pub fn holds(&self, count: u64) -> bool {
        self.condition
            .iter()
            .all(|(comparison, n)| comparison.holds(count, *n))
    }
}

/// Everything that is evaluated.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// Identities and descriptions.
    pub rules: Vec<Arc<Rule>>,
    /// Detections.
    pub detections: Vec<Detection>,
    /// Correlations; those that take others in come after them.
    pub correlations: Vec<Correlation>,
    /// For each of them a condition that the event must fulfil too (filters).
    pub guards: Vec<Option<Expr>>,
    /// The first rule of each id and UUID.
    by_id: HashMap<String, usize>,
}

/// The most correlations: they are numbered in 16 bits.
pub const MOST_CORRELATIONS: usize = u16::MAX as usize;

/// The most rules that one takes in: one bit each.
pub const MOST_INPUTS: usize = u64::BITS as usize;

impl RuleSet {
    /// The rule of an id or UUID.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The id nearest to a wrong one, if one is near; of a name that ends in `*`, one that begins so.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        let (name, is_beginning) = match name.trim_end_matches('*') {
            beginning if beginning != name => (beginning, true),
            name => (name, false),
        };
        let length = name.chars().count();
        let distance = |id: &str| match is_beginning {
            true => {
                let beginning: String = id.chars().take(length).collect();
                strsim::damerau_levenshtein(name, &beginning)
            }
            false => strsim::damerau_levenshtein(name, id),
        };
        self.rules
            .iter()
            .map(|rule| (distance(&rule.id), &*rule.id))
            .min()
            .filter(|(distance, _)| *distance <= 1 + name.len() / 4)
            .map(|(_, id)| id)
    }

    /// Adds a rule.
    pub(super) fn add(&mut self, rule: Rule) {
        for id in [Some(rule.id.to_string()), rule.uuid.clone()]
            .into_iter()
            .flatten()
        {
            self.by_id.entry(id).or_insert(self.rules.len());
        }
        self.rules.push(Arc::new(rule));
    }
}
