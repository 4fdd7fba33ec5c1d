//! From a parsed Sigma detection to a condition over typed fields. Refuses what it cannot say
//! exactly, with a reason; performs no I/O.

mod texts;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use aho_corasick::AhoCorasick;
use ipnet::IpNet;
use regex::bytes::RegexBuilder;
use rsigma_parser::value::SigmaString;
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SelectorPattern,
    SigmaValue,
};

use self::texts::{Place, only_literals, variants, wildcards};
use super::field::Field;
use super::matcher::{Comparison, Expr, Literal, Many, Relation, Test, TextTest};
use super::unseen;

/// The most memory that one regular expression may compile to, in bytes.
const REGEX_BYTES: usize = 1 << 20;

/// The most conditions within conditions: each is a call when an event is matched.
const DEEP: usize = 100;

/// From so many texts on that a field may contain, they are looked for all at once.
const MANY: usize = 6;

/// Why a detection is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What in the text of the rule it is about.
    pub at: String,
    /// The reason, and what would be right.
    pub why: String,
    /// The value that it is about, if it is one: its place is more exact.
    pub value: Option<String>,
}

impl Refused {
    /// Of something in the text of the rule.
    pub fn new(at: &str, why: impl Into<String>) -> Self {
        Refused {
            at: at.to_owned(),
            why: why.into(),
            value: None,
        }
    }

    fn of_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }
}

/// Compiles the conditions of a detection section; several conditions are alternatives.
///
/// # Errors
/// Unknown fields, selections and modifiers that have no meaning here, values that do not fit.
pub fn detections(detections: &Detections) -> Result<Expr, Refused> {
    let mut names: Vec<&str> = detections.named.keys().map(String::as_str).collect();
    names.sort_unstable();
    let selections = Selections {
        detections: &detections.named,
        names,
        used: RefCell::default(),
    };
    let alternatives = detections
        .conditions
        .iter()
        .map(|expr| condition(expr, &selections, DEEP))
        .collect::<Result<Vec<_>, _>>()?;
    // Those that no condition names too, so that no fault stays hidden; many texts take long, so
    // none of the others a second time.
    let used = selections.used.into_inner();
    for name in selections.names.iter().filter(|name| !used.contains(*name)) {
        detection(&detections.named[*name])?;
    }
    Ok(as_sent(any(alternatives), false))
}

/// What a URL begins with that nobody sent, where the target has no scheme itself.
const SCHEME: &[u8] = b"http://";

/// A URL passes a test when it does as a whole or as it was sent. Where passing counts against the
/// rule, a test that the scheme passes by itself would leave nothing: it asks whether a scheme was
/// sent, so it is asked of what was.
fn as_sent(expr: Expr, negated: bool) -> Expr {
    let each = |parts: Box<[Expr]>| parts.into_iter().map(|part| as_sent(part, negated));
    match expr {
        Expr::Not(part) => Expr::Not(Box::new(as_sent(*part, !negated))),
        Expr::All(parts) => Expr::All(each(parts).collect()),
        Expr::AtLeast(wanted, parts) => Expr::AtLeast(wanted, each(parts).collect()),
        Expr::Item(Field::Uri, Test::Text(test)) if negated && test.passes(SCHEME) => {
            let tests = match test {
                TextTest::AnyOf(tests) => tests.into_vec(),
                TextTest::ContainsAny(many) => {
                    let fold = many.fold;
                    let texts = many.texts.into_iter().map(|text| Literal {
                        bytes: match fold {
                            true => text.to_ascii_lowercase().into_bytes().into(),
                            false => text.into_bytes().into(),
                        },
                        fold,
                    });
                    texts.map(TextTest::Contains).collect()
                }
                one => vec![one],
            };
            let part = |test: TextTest| match test.passes(SCHEME) {
                true => Expr::Item(Field::Target, Test::Text(test)),
                false => Expr::Item(Field::Uri, Test::Text(test)),
            };
            any(tests.into_iter().map(part).collect())
        }
        other => other,
    }
}

/// The selections of a rule, by name.
struct Selections<'a> {
    detections: &'a HashMap<String, Detection>,
    /// Sorted.
    names: Vec<&'a str>,
    /// Those that were compiled.
    used: RefCell<HashSet<&'a str>>,
}

impl<'a> Selections<'a> {
    fn compile(&self, name: &str) -> Option<Result<Expr, Refused>> {
        let (name, found) = self.detections.get_key_value(name)?;
        self.used.borrow_mut().insert(name);
        Some(detection(found))
    }
}

fn condition(
    expr: &ConditionExpr,
    selections: &Selections<'_>,
    deep: usize,
) -> Result<Expr, Refused> {
    let Some(deep) = deep.checked_sub(1) else {
        let why = format!("the condition is nested more than {DEEP} deep");
        return Err(Refused::new("condition", why));
    };
    let many = |parts: &[ConditionExpr]| {
        parts
            .iter()
            .map(|part| condition(part, selections, deep))
            .collect::<Result<Vec<_>, _>>()
    };
    match expr {
        ConditionExpr::And(parts) => Ok(all(many(parts)?)),
        ConditionExpr::Or(parts) => Ok(any(many(parts)?)),
        ConditionExpr::Not(part) => {
            condition(part, selections, deep).map(|part| Expr::Not(Box::new(part)))
        }
        ConditionExpr::Identifier(name) => match selections.compile(name) {
            Some(compiled) => compiled,
            None => Err(Refused::new(
                "condition",
                format!(
                    "the condition names '{name}', which is not defined; there are {}",
                    selections.names.join(", ")
                ),
            )),
        },
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let selected: Vec<&&str> = selections
                .names
                .iter()
                .filter(|name| match pattern {
                    // Names with an underscore are left out of "them" (Sigma 2.0 appendix).
                    SelectorPattern::Them => !name.starts_with('_'),
                    SelectorPattern::Pattern(pattern) => name_matches(pattern, name),
                })
                .collect();
            if selected.is_empty() {
                return Err(Refused::new(
                    "condition",
                    format!(
                        "'{pattern}' selects nothing; there are {}",
                        selections.names.join(", ")
                    ),
                ));
            }
            let parts = selected
                .into_iter()
                .filter_map(|name| selections.compile(name))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(match quantifier {
                Quantifier::Any => any(parts),
                Quantifier::All => all(parts),
                Quantifier::Count(n) => at_least(usize::try_from(*n).unwrap_or(usize::MAX), parts),
            })
        }
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) if !end.contains('*') => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        Some(_) => globset::Glob::new(pattern).is_ok_and(|g| g.compile_matcher().is_match(name)),
        None => pattern == name,
    }
}

fn detection(detection: &Detection) -> Result<Expr, Refused> {
    match detection {
        Detection::AllOf(items) => items.iter().map(item).collect::<Result<_, _>>().map(all),
        Detection::AnyOf(parts) => {
            let parts: Result<Vec<_>, _> = parts.iter().map(self::detection).collect();
            parts.map(any)
        }
        Detection::And(parts) => {
            let parts: Result<Vec<_>, _> = parts.iter().map(self::detection).collect();
            parts.map(all)
        }
        Detection::Keywords(values) => Ok(any_keyword(values, true)),
        Detection::ArrayMatch { field, .. } => Err(Refused::new(
            field,
            "events have no arrays of objects; name the field without [any] or [all]",
        )),
        Detection::Conditional { .. } => Err(Refused::new(
            "condition",
            "events have no arrays of objects",
        )),
    }
}

/// Whether any selection asks for a field.
pub fn has_field(detections: &Detections) -> bool {
    fn of(detection: &Detection) -> bool {
        match detection {
            Detection::AllOf(items) => items.iter().any(|item| item.field.name.is_some()),
            Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().any(of),
            _ => false,
        }
    }
    detections.named.values().any(of)
}

/// What loads and is hardly meant: selections that no condition takes in, fields without a value.
pub fn oddities(detections: &Detections) -> Vec<Refused> {
    fn takes(expr: &ConditionExpr, name: &str) -> bool {
        match expr {
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
                parts.iter().any(|part| takes(part, name))
            }
            ConditionExpr::Not(part) => takes(part, name),
            ConditionExpr::Identifier(of) => of == name,
            ConditionExpr::Selector { pattern, .. } => match pattern {
                SelectorPattern::Them => !name.starts_with('_'),
                SelectorPattern::Pattern(pattern) => name_matches(pattern, name),
            },
        }
    }
    fn empty(detection: &Detection, out: &mut Vec<Refused>) {
        match detection {
            Detection::AllOf(items) => {
                for item in items.iter().filter(|item| item.values.is_empty()) {
                    let name = item.field.name.as_deref().unwrap_or_default();
                    let why = format!("'{name}' has no value, so no event matches it");
                    out.push(Refused::new(name, why));
                }
            }
            Detection::AnyOf(parts) | Detection::And(parts) => {
                parts.iter().for_each(|part| empty(part, out));
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    for (name, detection) in &detections.named {
        if !detections.conditions.iter().any(|expr| takes(expr, name)) {
            let why = format!("the condition does not use '{name}'");
            out.push(Refused::new(name, why));
        }
        empty(detection, &mut out);
    }
    out.sort_by(|a, b| a.at.cmp(&b.at));
    out
}

/// Every field of a detection section that no event has.
pub fn unknown_fields(detections: &Detections) -> Vec<Refused> {
    fn of(detection: &Detection, out: &mut Vec<Refused>) {
        match detection {
            Detection::AllOf(items) => {
                let names = items.iter().filter_map(|item| item.field.name.as_deref());
                out.extend(names.filter_map(|name| field(name).err()));
            }
            Detection::AnyOf(parts) | Detection::And(parts) => {
                parts.iter().for_each(|part| of(part, out));
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    detections.named.values().for_each(|one| of(one, &mut out));
    out.sort_by(|a, b| a.at.cmp(&b.at));
    out.dedup();
    out
}

/// A keyword is found anywhere in a text.
fn keyword(value: &SigmaValue, fold: bool) -> TextTest {
    let text = match value {
        SigmaValue::String(text) => text.clone(),
        other => SigmaString::from_raw(&other.to_string()),
    };
    wildcards(&text, Place::Within, fold)
}

/// One of the keywords at least: asked together, so that each text of an event is gone through once.
fn any_keyword(values: &[SigmaValue], fold: bool) -> Expr {
    let mut tests: Vec<TextTest> = values.iter().map(|value| keyword(value, fold)).collect();
    let plain = |test: &TextTest| match test {
        TextTest::Contains(literal) if !literal.bytes.is_empty() => {
            String::from_utf8(literal.bytes.to_vec()).ok()
        }
        _ => None,
    };
    let texts: Option<Vec<String>> = tests.iter().map(plain).collect();
    if let Some(many) = texts
        .filter(|texts| texts.len() >= MANY)
        .and_then(|texts| many(texts, fold))
    {
        return Expr::Keyword(many);
    }
    match tests.len() {
        0 => Expr::Constant(false),
        1 => Expr::Keyword(tests.remove(0)),
        _ => Expr::Keyword(TextTest::AnyOf(tests.into())),
    }
}

/// What a field's modifiers ask for.
#[derive(Clone)]
struct Modifiers {
    place: Place,
    all: bool,
    fold: bool,
    exists: bool,
    regex: bool,
    regex_flags: (bool, bool, bool),
    networks: bool,
    same_as: bool,
    comparison: Option<Comparison>,
    windash: bool,
    encodings: Vec<Modifier>,
}

fn modifiers(item: &DetectionItem, name: &str) -> Result<Modifiers, Refused> {
    let mut m = Modifiers {
        place: Place::Whole,
        all: false,
        fold: true,
        exists: false,
        regex: false,
        regex_flags: (false, false, false),
        networks: false,
        same_as: false,
        comparison: None,
        windash: false,
        encodings: Vec::new(),
    };
    let two = |what: &str| {
        let why = format!("'{name}' has more than one {what}: leave one, or write two selections");
        Refused::new(name, why)
    };
    for modifier in &item.field.modifiers {
        let place = match modifier {
            Modifier::Contains => Place::Within,
            Modifier::StartsWith => Place::Start,
            Modifier::EndsWith => Place::End,
            _ => Place::Whole,
        };
        if place != Place::Whole {
            if m.place != Place::Whole && m.place != place {
                return Err(two("of |contains, |startswith and |endswith"));
            }
            m.place = place;
        }
        let comparison = match modifier {
            Modifier::Gt => Some(Comparison::Gt),
            Modifier::Gte => Some(Comparison::Gte),
            Modifier::Lt => Some(Comparison::Lt),
            Modifier::Lte => Some(Comparison::Lte),
            Modifier::Neq => Some(Comparison::Ne),
            _ => None,
        };
        if comparison.is_some() {
            if m.comparison.is_some() && m.comparison != comparison {
                return Err(two("comparison"));
            }
            m.comparison = comparison;
        }
        match modifier {
            Modifier::Contains
            | Modifier::StartsWith
            | Modifier::EndsWith
            | Modifier::Gt
            | Modifier::Gte
            | Modifier::Lt
            | Modifier::Lte
            | Modifier::Neq => {}
            Modifier::All => m.all = true,
            Modifier::Cased => m.fold = false,
            Modifier::Exists => m.exists = true,
            Modifier::Re => m.regex = true,
            Modifier::IgnoreCase => m.regex_flags.0 = true,
            Modifier::Multiline => m.regex_flags.1 = true,
            Modifier::DotAll => m.regex_flags.2 = true,
            Modifier::Cidr => m.networks = true,
            Modifier::FieldRef => m.same_as = true,
            Modifier::WindAsh => m.windash = true,
            Modifier::Base64
            | Modifier::Base64Offset
            | Modifier::Wide
            | Modifier::Utf16
            | Modifier::Utf16be => m.encodings.push(*modifier),
            Modifier::Expand => {
                return Err(Refused::new(
                    name,
                    "|expand needs a placeholder's values, which there are none of: write the values out",
                ));
            }
            Modifier::Minute
            | Modifier::Hour
            | Modifier::Day
            | Modifier::Week
            | Modifier::Month
            | Modifier::Year => {
                return Err(Refused::new(name, "no field of an event is a date"));
            }
        }
    }
    m.go_together(name)?;
    Ok(m)
}

impl Modifiers {
    /// Refuses modifiers of which one would be passed over.
    fn go_together(&self, name: &str) -> Result<(), Refused> {
        let is_order = self.comparison.is_some_and(|c| c != Comparison::Ne);
        let given = [
            ("|exists", self.exists),
            ("|cidr", self.networks),
            ("|fieldref", self.same_as),
            ("|re", self.regex),
            ("|gt, |gte, |lt or |lte", is_order),
            (
                "|contains, |startswith or |endswith",
                self.place != Place::Whole,
            ),
            ("an encoding", !self.encodings.is_empty()),
            ("|windash", self.windash),
            ("|neq", self.comparison == Some(Comparison::Ne)),
        ];
        let may = |a: &str, b: &str| {
            matches!(
                (a, b),
                (
                    "|fieldref",
                    "|gt, |gte, |lt or |lte" | "|contains, |startswith or |endswith"
                ) | ("|re", "|contains, |startswith or |endswith")
                    | (
                        "|contains, |startswith or |endswith",
                        "an encoding" | "|windash"
                    )
                    | ("an encoding", "|windash")
            ) || b == "|neq" && a != "|exists"
        };
        let given: Vec<&str> = given.iter().filter(|g| g.1).map(|g| g.0).collect();
        for (at, one) in given.iter().enumerate() {
            if let Some(other) = given[at + 1..].iter().find(|other| !may(one, other)) {
                let why =
                    format!("'{name}': {one} and {other} do not go together; leave one of them");
                return Err(Refused::new(name, why));
            }
        }
        Ok(())
    }
}

/// The field of a name.
///
/// # Errors
/// A name that leads to none, with the nearest one that does.
pub fn field(name: &str) -> Result<Field, Refused> {
    Field::named(name).ok_or_else(|| {
        if let Some(why) = unseen::why(name) {
            return Refused::new(name, format!("no event has '{name}': {why}"));
        }
        let near = Field::suggestion(name)
            .map_or_else(String::new, |known| format!("; did you mean '{known}'?"));
        Refused::new(name, format!("unknown field '{name}'{near}"))
    })
}

fn item(item: &DetectionItem) -> Result<Expr, Refused> {
    let Some(name) = item.field.name.as_deref().filter(|name| !name.is_empty()) else {
        let known = [Modifier::All, Modifier::Contains, Modifier::Cased];
        if item.field.modifiers.iter().any(|m| !known.contains(m)) {
            let why = "keywords are texts that are anywhere in an event: of modifiers they take |all, \
                       |contains and |cased; name a field for others";
            return Err(Refused::new("'|", why));
        }
        let fold = !item.field.has_modifier(Modifier::Cased);
        return Ok(if item.field.has_modifier(Modifier::All) {
            let each = item.values.iter();
            all(each.map(|v| Expr::Keyword(keyword(v, fold))).collect())
        } else {
            any_keyword(&item.values, fold)
        });
    };
    let field = field(name)?;
    let m = modifiers(item, name)?;
    if m.networks {
        let networks = item
            .values
            .iter()
            .map(|value| network(name, value))
            .collect::<Result<Vec<_>, _>>()?;
        if m.all {
            let each = networks.into_iter();
            let one = |net| Expr::Item(field.clone(), Test::Networks(vec![net].into()));
            return Ok(unless(&field, &m, all(each.map(one).collect())));
        }
        let of_any = Expr::Item(field.clone(), Test::Networks(networks.into()));
        return Ok(unless(&field, &m, of_any));
    }
    let plain = m.place == Place::Whole
        && m.comparison.is_none()
        && m.encodings.is_empty()
        && !(m.regex || m.exists || m.same_as || m.windash);
    if plain && !m.all && item.values.len() > 1 {
        let numbers: Option<Box<[u64]>> = item.values.iter().map(whole).collect();
        if let Some(numbers) = numbers {
            return Ok(Expr::Item(field, Test::Numbers(numbers)));
        }
    }
    if plain
        && !m.all
        && field.is_address()
        && let Some(networks) = item
            .values
            .iter()
            .map(|v| address(v, &m))
            .collect::<Option<Vec<_>>>()
    {
        return Ok(Expr::Item(field, Test::Networks(networks.into())));
    }
    if m.place == Place::Within
        && !m.all
        && item.values.len() >= MANY
        && let Some(test) = contains_any(&item.values, &m)
    {
        return Ok(Expr::Item(field, Test::Text(test)));
    }
    let parts = item
        .values
        .iter()
        .map(|value| one(name, &field, value, &m))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(if m.all {
        all(parts)
    } else {
        any_of_texts(field, parts)
    })
}

/// One of the conditions at least; those that are all tests of this field's text are one test, so
/// that the field is looked for once.
fn any_of_texts(field: Field, parts: Vec<Expr>) -> Expr {
    let is_text = |part: &Expr| matches!(part, Expr::Item(of, Test::Text(_)) if *of == field);
    if parts.len() < 2 || !parts.iter().all(is_text) {
        return any(parts);
    }
    let tests = parts.into_iter().filter_map(|part| match part {
        Expr::Item(_, Test::Text(test)) => Some(test),
        _ => None,
    });
    Expr::Item(field, Test::Text(TextTest::AnyOf(tests.collect())))
}

fn whole(value: &SigmaValue) -> Option<u64> {
    match value {
        SigmaValue::Integer(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

/// An address that a value is, written as addresses are: then it need not be compared as text.
fn address(value: &SigmaValue, m: &Modifiers) -> Option<IpNet> {
    if m.windash || !m.encodings.is_empty() {
        return None;
    }
    let SigmaValue::String(text) = value else {
        return None;
    };
    let text = text.as_plain()?;
    let ip: IpAddr = text.parse().ok()?;
    (ip.to_string() == text).then(|| ip.into())
}

fn contains_any(values: &[SigmaValue], m: &Modifiers) -> Option<TextTest> {
    if m.windash || !m.encodings.is_empty() || m.regex || m.same_as || m.comparison.is_some() {
        return None;
    }
    let literals: Vec<String> = values
        .iter()
        .map(|value| match value {
            SigmaValue::String(text) => text.as_plain().filter(|t| !t.is_empty()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    many(literals, m.fold)
}

fn many(texts: Vec<String>, fold: bool) -> Option<TextTest> {
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(fold)
        .build(&texts)
        .ok()?;
    Some(TextTest::ContainsAny(Box::new(Many {
        automaton,
        texts,
        fold,
    })))
}

/// With `|neq` the field is there and the condition does not hold.
fn unless(field: &Field, m: &Modifiers, condition: Expr) -> Expr {
    match m.comparison {
        Some(Comparison::Ne) => Expr::All(
            [
                Expr::Item(field.clone(), Test::Present),
                Expr::Not(Box::new(condition)),
            ]
            .into(),
        ),
        _ => condition,
    }
}

fn network(name: &str, value: &SigmaValue) -> Result<IpNet, Refused> {
    crate::config::value::network(&value.to_string()).map_err(|want| {
        let why = format!("'{value}' is not {want}");
        Refused::new(name, why).of_value(value.to_string())
    })
}

fn one(name: &str, field: &Field, value: &SigmaValue, m: &Modifiers) -> Result<Expr, Refused> {
    let test = |test| Ok(Expr::Item(field.clone(), test));
    if m.exists {
        return match value {
            SigmaValue::Bool(true) => test(Test::Present),
            SigmaValue::Bool(false) => test(Test::Missing),
            other => Err(Refused::new(
                name,
                format!("|exists wants true or false, not '{other}'"),
            )),
        };
    }
    if m.same_as {
        return related(name, field, value, m);
    }
    if let Some(comparison) = m.comparison {
        let is_text = m.regex || m.place != Place::Whole || !m.encodings.is_empty() || m.windash;
        if is_text {
            let mut positive = m.clone();
            positive.comparison = None;
            return one(name, field, value, &positive).map(|part| unless(field, m, part));
        }
        let number = match value {
            SigmaValue::Integer(n) => Some(*n as f64),
            SigmaValue::Float(n) => Some(*n),
            SigmaValue::String(text) => text.original.parse().ok(),
            _ => None,
        };
        return match number {
            Some(number) => test(Test::Number(comparison, number)),
            None if comparison == Comparison::Ne => {
                let equal = Expr::Item(field.clone(), equals(value, m));
                Ok(Expr::All(
                    [
                        Expr::Item(field.clone(), Test::Present),
                        Expr::Not(Box::new(equal)),
                    ]
                    .into(),
                ))
            }
            None => Err(Refused::new(
                name,
                format!("'{value}' is not a number to compare with"),
            )),
        };
    }
    if m.regex {
        let (ignore_case, multi_line, dot_all) = m.regex_flags;
        // With the others it is found anywhere in a text already.
        let (before, after) = match m.place {
            Place::Start => (r"\A(?:", ")"),
            Place::End => ("(?:", r")\z"),
            Place::Whole | Place::Within => ("", ""),
        };
        // Flags are written into the pattern, so that it alone says what it matches.
        let mut pattern = String::new();
        for (flag, set) in [
            ("(?i)", ignore_case),
            ("(?m)", multi_line),
            ("(?s)", dot_all),
        ] {
            if set {
                pattern.push_str(flag);
            }
        }
        let given = match value {
            SigmaValue::String(text) => text.original.clone(),
            other => other.to_string(),
        };
        pattern.push_str(before);
        pattern.push_str(&given);
        pattern.push_str(after);
        let wrong = |why: String| {
            let short: String = given.chars().take(80).collect();
            let more = if short == given { "" } else { "…" };
            let why = format!("the expression '{short}{more}' {why}");
            Err(Refused::new(name, why).of_value(given.as_str()))
        };
        let regex = RegexBuilder::new(&pattern)
            .unicode(false)
            .size_limit(REGEX_BYTES)
            .dfa_size_limit(REGEX_BYTES)
            .build();
        return match regex {
            Ok(regex) => test(Test::Text(
                only_literals(&pattern).unwrap_or_else(|| TextTest::Regex(Box::new(regex))),
            )),
            Err(regex::Error::CompiledTooBig(_)) => wrong(format!(
                "compiles to more than {REGEX_BYTES} bytes: bound its repetitions"
            )),
            Err(error) => wrong(format!("is none: {}", last_line(&error.to_string()))),
        };
    }
    match value {
        SigmaValue::Null => test(Test::Absent),
        SigmaValue::Integer(n) if m.place == Place::Whole => {
            test(Test::Number(Comparison::Eq, *n as f64))
        }
        SigmaValue::Float(n) if m.place == Place::Whole => test(Test::Number(Comparison::Eq, *n)),
        other => {
            if m.place == Place::Whole
                && m.encodings.is_empty()
                && let Some(why) = never(name, field, other)
            {
                return Err(Refused::new(name, why));
            }
            let texts = variants(name, other, m)?;
            let mut parts: Vec<Expr> = texts
                .iter()
                .map(|text| Expr::Item(field.clone(), Test::Text(wildcards(text, m.place, m.fold))))
                .collect();
            // Rules for logs have what a log writes where there is nothing.
            let is_none = |text: &SigmaString| matches!(text.as_plain().as_deref(), Some("-" | ""));
            if m.place == Place::Whole && texts.iter().any(is_none) && field.is_dash_in_logs() {
                let test = match field {
                    // A `?` that nothing follows asks for nothing.
                    Field::Query => Test::Absent,
                    _ => Test::Missing,
                };
                parts.push(Expr::Item(field.clone(), test));
            }
            Ok(any(parts))
        }
    }
}

/// A field that is in a relation to another one, whose name the value is.
fn related(name: &str, field: &Field, value: &SigmaValue, m: &Modifiers) -> Result<Expr, Refused> {
    let named = value.to_string();
    let other = self::field(&named)?;
    let cased = !m.fold;
    let relation = match (m.comparison, m.place) {
        (None | Some(Comparison::Ne), Place::Whole) => Relation::Equals(cased),
        (None | Some(Comparison::Ne), Place::Start) => Relation::Starts(cased),
        (None | Some(Comparison::Ne), Place::End) => Relation::Ends(cased),
        (None | Some(Comparison::Ne), Place::Within) => Relation::Contains(cased),
        (Some(order), _) => {
            for (name, field) in [(name, field), (&*named, &other)] {
                if !field.may_be_number() {
                    let why = format!("'{name}' is no number, so it is neither more nor less");
                    return Err(Refused::new(name, why));
                }
            }
            Relation::Number(order)
        }
    };
    let holds = Expr::Item(field.clone(), Test::SameAs(other.clone(), relation));
    Ok(match m.comparison {
        // Of two that are there.
        Some(Comparison::Ne) => all(vec![
            Expr::Item(other, Test::Present),
            unless(field, m, holds),
        ]),
        _ => holds,
    })
}

/// Why no event has this text under a field, whatever is on the wire.
fn never(name: &str, field: &Field, value: &SigmaValue) -> Option<String> {
    let SigmaValue::String(text) = value else {
        return None;
    };
    let text = text.as_plain().filter(|text| text != "-")?;
    if field.is_number() && text.parse::<f64>().is_err() {
        return Some(format!("'{text}' is no number, and '{name}' always is"));
    }
    let network = field.is_address() && text.contains('/');
    (network && crate::config::value::network(&text).is_ok())
        .then(|| format!("'{text}' is a network: want '{name}|cidr'"))
}

/// The message without the excerpt that the regex crate puts before it.
fn last_line(error: &str) -> String {
    let line = error.lines().last().unwrap_or(error);
    line.trim_start_matches("error: ").to_owned()
}

fn equals(value: &SigmaValue, m: &Modifiers) -> Test {
    let text = match value {
        SigmaValue::String(text) => text.clone(),
        other => SigmaString::from_raw(&other.to_string()),
    };
    Test::Text(wildcards(&text, Place::Whole, m.fold))
}

/// Each of the conditions.
pub fn all(mut parts: Vec<Expr>) -> Expr {
    match parts.len() {
        0 => Expr::Constant(true),
        1 => parts.remove(0),
        _ => Expr::All(parts.into()),
    }
}

/// One of the conditions at least.
pub fn any(mut parts: Vec<Expr>) -> Expr {
    match parts.len() {
        0 => Expr::Constant(false),
        1 => parts.remove(0),
        _ => Expr::AtLeast(1, parts.into()),
    }
}

fn at_least(wanted: usize, parts: Vec<Expr>) -> Expr {
    if wanted > parts.len() {
        Expr::Constant(false)
    } else {
        Expr::AtLeast(wanted, parts.into())
    }
}
