//! Adapts tests of a URL under "not", because most URLs were sent without their scheme. Other
//! fields are unchanged.

use super::connectives::any;
use crate::field::Field;
use crate::rule::expr::{Expr, Test, TextTest};

/// Start of a URL whose target has no scheme.
const SCHEME: &[u8] = b"http://";

/// A URL passes a test if the whole URL or the target as sent passes. Under "not", a test that
/// the scheme alone passes would exclude every event. Such a test is meant to ask whether a
/// scheme was sent, so it is applied to the target.
pub(super) fn as_sent(expr: Expr, negated: bool) -> Expr {
    let each = |parts: Box<[Expr]>| parts.into_iter().map(|part| as_sent(part, negated));
    match expr {
        Expr::Not(part) => Expr::Not(Box::new(as_sent(*part, !negated))),
        Expr::All(parts) => Expr::All(each(parts).collect()),
        Expr::AtLeast(wanted, parts) => Expr::AtLeast(wanted, each(parts).collect()),
        Expr::Item(Field::Uri, Test::Text(test)) if negated && test.passes(SCHEME) => {
            let part = |test: TextTest| match test.passes(SCHEME) {
                true => Expr::Item(Field::Target, Test::Text(test)),
                false => Expr::Item(Field::Uri, Test::Text(test)),
            };
            any(alternatives(test).into_iter().map(part).collect())
        }
        other => other,
    }
}

/// The tests of which one must pass.
fn alternatives(test: TextTest) -> Vec<TextTest> {
    match test {
        TextTest::AnyOf(tests) => tests.into_vec(),
        one => vec![one],
    }
}
