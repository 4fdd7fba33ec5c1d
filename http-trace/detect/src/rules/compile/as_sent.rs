//! What a compiled condition asks of a URL, whose beginning nobody may have sent. Knows nothing of
//! rules' texts, and leaves tests of all other fields as they are.

use super::connectives::any;
use crate::field::Field;
use crate::rule::expr::{Expr, Literal, Test, TextTest};

/// What a URL begins with that nobody sent, where the target has no scheme itself.
const SCHEME: &[u8] = b"http://";

/// A URL passes a test when it does as a whole or as it was sent. Where passing counts against the
/// rule, a test that the scheme passes by itself would leave nothing: it asks whether a scheme was
/// sent, so it is asked of what was.
pub(super) fn as_sent(expr: Expr, negated: bool) -> Expr {
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
