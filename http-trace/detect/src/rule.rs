//! A rule: its identity, its description, and what it counts. Created by [`crate::rules`] from Sigma files.
//! Data only; evaluates nothing.
//!
//! # Layout
//! - [`expr`] is the condition of a detection.

pub mod expr;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use self::expr::{Comparison, Expr};
use crate::field::Field;
use crate::template::Part;

/// The severity of an alert, from 0 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

http_trace_model::named_enum! {
    /// A band of severities.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Level {
        /// 0.
        Informational = "informational",
        /// 1–3.
        Low = "low",
        /// 4–6.
        Medium = "medium",
        /// 7–8.
        High = "high",
        /// 9–10.
        Critical = "critical",
    }
}

impl Level {
    /// Looks up a level by name; `info` is short for `informational`.
    pub fn of(name: &str) -> Option<Level> {
        match name {
            "info" => Some(Level::Informational),
            name => Level::named(name),
        }
    }
}

impl Severity {
    /// The lowest.
    pub const INFORMATIONAL: Severity = Severity(0);

    /// A severity from 0 to 10; `None` for other numbers.
    pub fn new(score: u64) -> Option<Self> {
        u8::try_from(score).ok().filter(|s| *s <= 10).map(Severity)
    }

    /// The severity of a rule that gives a level without a number.
    pub const fn of(level: Level) -> Self {
        Severity([0, 2, 5, 7, 9][level as usize])
    }

    pub const fn score(self) -> u8 {
        self.0
    }

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

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A built-in rule file, by name.
    BuiltIn(&'static str),
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

/// MITRE ATT&CK ids, from a rule's tags.
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
    /// The rule's name, or its id if it has no name; unique among all rules.
    pub id: Arc<str>,
    /// The `id` in the file, if it differs from the name; other rules may refer to either.
    pub uuid: Option<String>,
    pub title: String,
    pub description: String,
    pub references: Vec<String>,
    pub severity: Severity,
    /// Category, such as `Discovery`.
    pub category: Option<String>,
    /// Version: `modified`, or otherwise `date`.
    pub version: Option<String>,
    /// ATT&CK ids, from its tags.
    pub threat: Threat,
    /// Entity roles and the fields that hold them.
    pub entities: Vec<(String, Field)>,
    pub summary: Option<Vec<Part>>,
    /// Titles of the rules that it counts, by input of its correlation.
    pub input_titles: Vec<String>,
    /// Minimum time between updates of an alert, in ns.
    pub suppress_ns: u64,
    /// Maximum alerts that one client may raise on one server within the window or the suppression period,
    /// whichever is longer; more are combined into a digest. 0: one digest for all alerts of a server. Of a rule that
    /// groups by [`Field::ClientKind`], that all clients may raise.
    pub alert_limit: u64,
    /// Maximum number of keys tracked at once; further keys are not admitted, which is counted.
    pub group_limit: Option<usize>,
    /// Prefix length by which IPv6 addresses are grouped.
    pub ipv6_prefix: u8,
    /// Whether an alert marks its peer as a proxy.
    pub marks_proxy: bool,
    /// Whether alerts are omitted from output for people.
    pub quiet: bool,
    /// Ids of rules whose open alerts about the same entity make an alert of this rule redundant.
    pub yields_to: Vec<String>,
    /// File it comes from.
    pub origin: Origin,
    /// Line in that file, from 1.
    pub line: usize,
}

/// A rule evaluated on each event.
#[derive(Debug)]
pub struct Detection {
    /// Index in [`RuleSet::rules`].
    pub rule: usize,
    pub expr: Expr,
}

/// What a correlation counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    EventCount,
    ValueCount(Vec<Field>),
    /// All inputs within the window, or a condition over them.
    Temporal(Option<InputCondition>),
    /// All inputs in the given order, within the window.
    TemporalOrdered,
    ValueSum(Field),
    /// The mean of a field's values.
    ValueAvg(Field),
    /// A percentile (0–100) of a field's values.
    ValuePercentile(Field, u8),
    /// Events of the first input as a percentage of those of the second; the minimum.
    Ratio(u8),
    /// Response times that fall into two modes whose medians differ at least by this factor.
    TimingSplit(u8),
    /// Statuses in an unusual order.
    StatusSequence,
    /// Opening alerts of the rule. Internal: cannot be written in a file.
    Digest,
}

impl Kind {
    /// Whether a counter of it keeps values, which take memory.
    pub const fn keeps_values(&self) -> bool {
        matches!(self, Kind::ValueCount(_) | Kind::ValuePercentile(..) | Kind::TimingSplit(_))
    }
}

/// A condition over the inputs that were seen, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputCondition {
    Input(usize),
    All(Vec<InputCondition>),
    /// At least this many hold.
    AtLeast(usize, Vec<InputCondition>),
    Not(Box<InputCondition>),
}

impl InputCondition {
    /// Evaluates the condition; `seen` tells whether an input was seen.
    pub fn holds(&self, seen: &dyn Fn(usize) -> bool) -> bool {
        match self {
            InputCondition::Input(at) => seen(*at),
            InputCondition::All(parts) => parts.iter().all(|part| part.holds(seen)),
            InputCondition::AtLeast(wanted, parts) => {
                parts.iter().filter(|part| part.holds(seen)).count() >= *wanted
            }
            InputCondition::Not(part) => !part.holds(seen),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Events that a detection matches, by index in [`RuleSet::detections`].
    Detection(usize),
    /// Events at which another correlation's condition holds, by its index.
    Correlation(usize),
}

/// A field to group by, per input if the rule has aliases.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    /// The field for each input, or one for all.
    pub of: Vec<Field>,
}

/// A rule that counts the matches of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Correlation {
    /// Index in [`RuleSet::rules`].
    pub rule: usize,
    pub kind: Kind,
    pub inputs: Vec<Input>,
    pub group_by: Vec<Group>,
    pub window_ns: u64,
    /// Comparisons that the count must satisfy.
    pub condition: Vec<(Comparison, u64)>,
    /// Whether it raises alerts of its own, or only feeds others.
    pub alerts: bool,
    /// Bit set of the inputs that take back the value they have, or all that was counted.
    pub undo: u64,
}

impl Correlation {
    /// Whether an event that matches these inputs only takes back.
    pub const fn undoes(&self, inputs: u64) -> bool {
        inputs & self.undo != 0 && inputs & !self.undo == 0
    }

    /// The lowest count that raises an alert; at least 1.
    pub fn threshold(&self) -> u64 {
        let least = self.condition.iter().map(|(comparison, n)| match comparison {
            Comparison::Gte | Comparison::Eq => *n,
            Comparison::Gt => n.saturating_add(1),
            Comparison::Lt | Comparison::Lte | Comparison::Ne => 0,
        });
        least.max().unwrap_or(1).max(1)
    }

    /// Whether its counts lead to alerts, of its own or as a digest.
    pub fn leads_to_alerts(&self) -> bool {
        self.alerts || self.kind == Kind::Digest
    }

    /// Whether a count satisfies the condition.
    pub fn holds(&self, count: u64) -> bool {
        self.condition.iter().all(|(comparison, n)| comparison.holds(count, *n))
    }
}

#[derive(Debug, Default)]
pub struct RuleSet {
    /// Identities and descriptions.
    pub rules: Vec<Arc<Rule>>,
    pub detections: Vec<Detection>,
    /// Correlations; each comes after those that it takes as inputs.
    pub correlations: Vec<Correlation>,
    /// For each correlation a condition that the event must also satisfy (from filter rules).
    pub guards: Vec<Option<Expr>>,
    /// Index of the first rule with an id or UUID.
    by_id: HashMap<String, usize>,
}

/// Maximum number of correlations, which are numbered with 16 bits.
pub const MOST_CORRELATIONS: usize = u16::MAX as usize;

/// Maximum number of inputs of a rule, one bit each.
pub const MOST_INPUTS: usize = u64::BITS as usize;

impl RuleSet {
    /// Index of the rule with this id or UUID.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// The id nearest to a wrong one, if one is near; for a name ending in `*`, compares prefixes.
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

    pub(super) fn add(&mut self, rule: Rule) {
        for id in [Some(rule.id.to_string()), rule.uuid.clone()].into_iter().flatten() {
            self.by_id.entry(id).or_insert(self.rules.len());
        }
        self.rules.push(Arc::new(rule));
    }
}
