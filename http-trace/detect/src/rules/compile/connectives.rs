//! Combines conditions with "and", "or" and "at least n of", without inspecting them.

use crate::rule::expr::Expr;

/// All conditions hold.
pub(crate) fn all(mut parts: Vec<Expr>) -> Expr {
    match parts.len() {
        0 => Expr::Constant(true),
        1 => parts.remove(0),
        _ => Expr::All(parts.into()),
    }
}

/// At least one condition holds.
pub(super) fn any(mut parts: Vec<Expr>) -> Expr {
    match parts.len() {
        0 => Expr::Constant(false),
        1 => parts.remove(0),
        _ => Expr::AtLeast(1, parts.into()),
    }
}

pub(super) fn at_least(wanted: usize, parts: Vec<Expr>) -> Expr {
    if wanted > parts.len() { Expr::Constant(false) } else { Expr::AtLeast(wanted, parts.into()) }
}
