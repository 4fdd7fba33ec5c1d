//! From Sigma files to a [`crate::rule::RuleSet`]. Sees no event; I/O only in [`load`].
//!
//! # Layout
//! - [`load`]: rule files from disk; [`builtin`]: those compiled in; [`tune`]: changes that the
//!   configuration makes.
//! - [`parse`]: text to rules; [`meta`]: a rule's description; [`compile`]: detections;
//!   [`correlation`]: what is counted.
//! - [`diagnose`]: what is wrong where; `worded`: the parser's messages reworded; [`unseen`]: fields
//!   that no event has.

pub mod builtin;
mod compile;
mod correlation;
pub mod diagnose;
pub mod load;
mod meta;
pub mod parse;
pub mod tune;
mod unseen;
mod worded;
