//! Tests of a URL under "not": the scheme of a URL was mostly not sent. Leaves tests of all other
//! fields as they are.

use super::connectives::any;
use crate::field::Field;
use crate::rule::expr::{Expr, Test, TextTest};

/// The beginning of a URL whose target has no scheme itself.
const SCHEME: &[u8] = b"http://";

/// A URL passes a test when it does as a whole or as it was sent. Under "not", a test that the scheme
/// alone passes would exclude every event: it asks whether a scheme was sent, so it is asked of the
/// target.
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

/// The tests of which one has to pass.
fn alternatives(test: TextTest) -> Vec<TextTest> {
    match test {
        TextTest::AnyOf(tests) => tests.into_vec(),
        one => vec![one],
    }
}
