//! Detection: rules over the stream of events, decided by event time, so that a capture raises the
//! alerts that the live run did. Comes after pairing and before selection and redaction: rules see
//! what was on the wire.
//!
//! # Layout
//! - [`rules`] reads Sigma files into a [`rule::RuleSet`], which is data only.
//! - [`field`] and [`derived`] give typed values of an event ([`uri`] writes what nobody sent in one
//!   piece).
//! - [`matcher`] holds conditions as they were compiled ([`networks`] those of addresses);
//!   [`conditions`] says which of all of them an event fulfils. [`lines`] notes where an event's header
//!   lines are, [`watched`] what is known of their values ([`kept`] keeps that of those that come
//!   again) and [`addresses`] of a client's and a server's address, [`plans`] what follows for all events that are
//!   alike in these and in their status; [`literals`] are looked for all at once, and [`prefilter`]
//!   says which detections can match at all.
//! - [`targets`] keeps targets that come again, taken apart, so that what follows from one is kept too.
//! - [`entity`] says whom an event is counted for; [`count`] counts in a [`window`] and with
//!   [`distinct`] values, into the [`counter`] of a key of the one bounded [`table`] ([`presence`] tells at
//!   once of most keys that they are not there, [`sketch`] decides who comes into a full one).
//!   [`begun`] spares events that go on with nothing the search for it. [`native`] holds what Sigma
//!   cannot say, [`tags`] the ids that an event bears afterwards.
//! - [`fingerprint`] tells whether a correlation is still the same after its file was read again.
//! - [`hits`] is what each rule has counted of whom and on which day; [`saving`] takes that and all
//!   that is being counted into a file, [`state`] tells whether one is whole, [`hashes`] is what
//!   keys are still the same by afterwards.
//! - [`evidence`] and [`summary`] become an [`alert`]. [`Detector`] drives it all.
#![forbid(unsafe_code)]

pub mod addresses;
pub mod alert;
pub mod begun;
pub mod conditions;
pub mod count;
pub mod counter;
pub mod derived;
pub mod detector;
pub mod distinct;
pub mod entity;
pub mod evidence;
pub mod field;
pub mod fingerprint;
pub mod hashes;
pub mod hits;
pub mod kept;
pub mod lines;
pub mod literals;
pub mod matcher;
pub mod native;
pub mod networks;
pub mod plans;
pub mod prefilter;
pub mod presence;
pub mod rule;
pub mod rules;
pub mod saving;
pub mod sketch;
pub mod state;
pub mod summary;
pub mod table;
pub mod tags;
pub mod targets;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod uri;
pub mod watched;
pub mod window;

#[cfg(test)]
mod tests;

pub use rules::{builtin, diagnose, load, parse, tune};

pub use detector::{DetectStats, Detected, Detector, Prepared, Reloaded, Restored, Settings};
