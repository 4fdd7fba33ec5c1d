//! Evaluates the condition of a detection on an event. Allocates nothing for fields that are on the wire as
//! they are, and never panics, whatever the bytes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::field::Field;
use super::rule::expr::{Expr, Literal, Pattern, Relation, Test, TextTest};
use super::view::{Value, View};

impl Relation {
    fn holds(self, value: &Value<'_>, other: &Value<'_>) -> bool {
        let texts = |cased: bool, test: fn(&[u8], &[u8]) -> bool| {
            value.with_text(|a| {
                other.with_text(|b| match cased {
                    true => test(a, b),
                    false => test(&a.to_ascii_lowercase(), &b.to_ascii_lowercase()),
                })
            })
        };
        match self {
            Relation::Equals(true) => value.with_text(|a| other.with_text(|b| a == b)),
            Relation::Equals(false) => {
                value.with_text(|a| other.with_text(|b| a.eq_ignore_ascii_case(b)))
            }
            Relation::Starts(cased) => texts(cased, |a, b| a.starts_with(b)),
            Relation::Ends(cased) => texts(cased, |a, b| a.ends_with(b)),
            // Both texts are the client's: the search must take linear, not quadratic time.
            Relation::Contains(cased) => texts(cased, |a, b| memchr::memmem::find(a, b).is_some()),
            Relation::Number(comparison) => match (number(value), number(other)) {
                (Some(a), Some(b)) => comparison.holds(a, b),
                _ => false,
            },
        }
    }
}

impl Literal {
    fn eq(&self, text: &[u8]) -> bool {
        if self.fold { self.bytes.eq_ignore_ascii_case(text) } else { *self.bytes == *text }
    }

    fn find(&self, text: &[u8]) -> bool {
        let Some(&first) = self.bytes.first() else { return true };
        if !self.fold {
            return memchr::memmem::find(text, &self.bytes).is_some();
        }
        let Some(last) = text.len().checked_sub(self.bytes.len()) else {
            return false;
        };
        let here = |at: usize| self.bytes.eq_ignore_ascii_case(&text[at..at + self.bytes.len()]);
        memchr::memchr2_iter(first, first.to_ascii_uppercase(), &text[..=last]).any(here)
    }
}

impl TextTest {
    pub fn passes(&self, text: &[u8]) -> bool {
        match self {
            TextTest::Equals(literal) => literal.eq(text),
            TextTest::Starts(literal) => {
                text.get(..literal.bytes.len()).is_some_and(|start| literal.eq(start))
            }
            TextTest::Ends(literal) => text
                .len()
                .checked_sub(literal.bytes.len())
                .is_some_and(|at| literal.eq(&text[at..])),
            TextTest::Contains(literal) => literal.find(text),
            TextTest::AnyOf(tests) => tests.iter().any(|test| test.passes(text)),
            TextTest::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Test {
    /// Whether an event's values of a field pass.
    pub fn holds(&self, field: &Field, view: &View<'_>) -> bool {
        match (field, self) {
            // [`Field::Query`] also yields the path, which says nothing about the presence of a query.
            (Field::Query, Test::Present) => return view.target().query.is_some(),
            // A list in the table may be empty.
            (Field::Plain(_), Test::Present) => {}
            (field, Test::Present) => return view.first(field).is_some(),
            (Field::Query, Test::Missing) => return view.target().query.is_none(),
            (Field::Query, Test::Absent) => {
                return view.target().query.is_none_or(<[u8]>::is_empty);
            }
            _ => {}
        }
        let mut any = false;
        let passes = view.any(field, &mut |value| {
            any = true;
            match self {
                Test::SameAs(other, relation) => {
                    view.any(other, &mut |other| relation.holds(&value, &other))
                }
                test => test.passes(&value),
            }
        });
        passes || !any && matches!(self, Test::Absent | Test::Missing)
    }

    pub fn passes(&self, value: &Value<'_>) -> bool {
        match self {
            Test::Present => true,
            Test::Absent => matches!(value, Value::Text(b"")),
            Test::Missing | Test::SameAs(..) => false,
            Test::Text(test) => value.with_text(|text| test.passes(text)),
            Test::Number(comparison, wanted) => {
                number(value).is_some_and(|n| comparison.holds(n, *wanted))
            }
            Test::Networks(networks) => {
                address(value).is_some_and(|ip| networks.iter().any(|of| is_within(of, ip)))
            }
        }
    }
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Number(n) => Some(*n as f64),
        Value::Text(_) | Value::Made(_) => {
            value.with_text(|text| std::str::from_utf8(text).ok()?.trim().parse().ok())
        }
        _ => None,
    }
}

/// As [`IpNet::contains`], which computes the network's first and last address on each call.
fn is_within(network: &IpNet, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpNet::V4(of), IpAddr::V4(ip)) => {
            let differs = of.addr().to_bits() ^ ip.to_bits();
            differs.leading_zeros() >= u32::from(of.prefix_len())
        }
        (IpNet::V6(of), IpAddr::V6(ip)) => {
            let differs = of.addr().to_bits() ^ ip.to_bits();
            differs.leading_zeros() >= u32::from(of.prefix_len())
        }
        _ => false,
    }
}

fn address(value: &Value<'_>) -> Option<IpAddr> {
    match value {
        Value::Ip(ip) => Some(*ip),
        other => other.with_text(|text| {
            let text = std::str::from_utf8(text).ok()?;
            text.trim_matches(['[', ']']).parse().ok()
        }),
    }
}

impl Expr {
    pub fn matches(&self, view: &View<'_>) -> bool {
        match self {
            Expr::Constant(yes) => *yes,
            Expr::All(parts) => parts.iter().all(|part| part.matches(view)),
            Expr::AtLeast(wanted, parts) => {
                let matching = parts.iter().filter(|part| part.matches(view));
                matching.take(*wanted).count() == *wanted
            }
            Expr::Not(part) => !part.matches(view),
            Expr::Item(field, test) => test.holds(field, view),
            Expr::Keyword(test) => view.any_text(&mut |text| test.passes(text)),
        }
    }
}

/// Whether at least `wanted` parts hold; `None` if the decided parts do not settle it.
pub fn at_least<T>(
    wanted: usize,
    parts: &[T],
    mut decided: impl FnMut(&T) -> Option<bool>,
) -> Option<bool> {
    let (mut sure, mut possible) = (0, parts.len());
    for part in parts {
        if sure >= wanted || possible < wanted {
            break;
        }
        match decided(part) {
            Some(true) => sure += 1,
            Some(false) => possible -= 1,
            None => {}
        }
    }
    if sure >= wanted {
        Some(true)
    } else if possible < wanted {
        Some(false)
    } else {
        None
    }
}

/// The regular expressions that the test searches with.
pub fn patterns_of(test: &TextTest) -> Vec<&Pattern> {
    match test {
        TextTest::Regex(pattern) => vec![pattern],
        TextTest::AnyOf(tests) => tests.iter().flat_map(patterns_of).collect(),
        _ => Vec::new(),
    }
}

/// Lower-case literals of which every passing text contains at least one; `None` if there are none.
pub fn literals_of(test: &TextTest) -> Option<Vec<Vec<u8>>> {
    let one = |bytes: &[u8]| (!bytes.is_empty()).then(|| vec![bytes.to_ascii_lowercase()]);
    match test {
        TextTest::Equals(l) | TextTest::Starts(l) | TextTest::Ends(l) | TextTest::Contains(l) => {
            one(&l.bytes)
        }
        TextTest::AnyOf(tests) => {
            Some(tests.iter().map(literals_of).collect::<Option<Vec<_>>>()?.concat())
        }
        TextTest::Regex(pattern) => {
            let literals = pattern.literals();
            (!literals.is_empty()).then(|| literals.to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_in_either_case() {
        for (literal, text, expected) in [
            ("ab", "xAB", true),
            ("ab", "xA", false),
            ("", "", true),
            ("abc", "ab", false),
            ("a", "A", true),
        ] {
            let bytes: Box<[u8]> = literal.as_bytes().into();
            for fold in [true, false] {
                let literal = Literal { bytes: bytes.clone(), fold };
                let found = TextTest::Contains(literal).passes(text.as_bytes());
                let expected =
                    expected && (fold || text.contains(std::str::from_utf8(&bytes).expect("text")));
                assert_eq!(found, expected, "{text} {fold}");
            }
        }
    }
}
