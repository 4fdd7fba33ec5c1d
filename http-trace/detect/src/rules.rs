//! From Sigma files to a [`crate::rule::RuleSet`]. Sees no event; I/O only in [`load`].
//!
//! # Layout
//! - [`load`]: rule files from disk; [`builtin`]: those compiled in; [`tune`]: changes that the
//!   configuration makes.
//! - [`parse`]: documents to rules, with `meta` (descriptions), `compile` (conditions), `names` (of
//!   fields) and `correlation` (counts); `building` holds the rules so far.
//! - [`diagnose`]: faults; `document`: their positions; `wording`: messages of the parser.

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
pub mod tune;
mod wording;
