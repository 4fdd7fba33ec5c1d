//! A field that is held against another one (`|fieldref`). Knows nothing of texts: the value is the
//! other field's name and no more.

use rsigma_parser::SigmaValue;

use super::connectives::all;
use super::modifiers::{Modifiers, Place};
use super::{Refused, names};
use crate::field::Field;
use crate::rule::expr::{Comparison, Expr, Relation, Test};

/// A field that is in a relation to another one, whose name the value is.
pub(super) fn related(
    name: &str,
    field: &Field,
    value: &SigmaValue,
    m: &Modifiers,
) -> Result<Expr, Refused> {
    let named = value.to_string();
    let other = names::field(&named)?;
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
            m.unless(field, holds),
        ]),
        _ => holds,
    })
}
