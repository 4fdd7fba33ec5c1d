//! Compiles Sigma files to a [`crate::rule::RuleSet`]. Sees no event; only [`load`] performs I/O.
//!
//! # Layout
//! - [`load`] reads rule files; [`builtin`] holds those compiled in; [`tune`] applies the
//!   changes of the configuration.
//! - [`parse`] turns documents into rules, with `meta` (descriptions), `compile` (conditions), `names`
//!   (fields) and `correlation` (counts); `refused` reads those that do not load; `building` collects the rules.
//! - [`diagnose`] defines diagnostics; `document` locates them; `wording` rewords messages of the parser.

mod building;
pub mod builtin;
mod compile;
mod correlation;
pub mod diagnose;
mod document;
pub mod load;
mod meta;
mod names;
pub mod parse;
mod refused;
pub mod tune;
mod wording;
