//! HTTP/1.x as the host sees it: heads and transactions.
//!
//! # Layout
//! - [`head`]: decoded heads ([`known`] their names by numbers); [`decode`] makes them, [`target`] takes a request's target apart,
//!   [`fields`] what single fields say.
//! - [`context`]: what the modules below are given from outside.
//! - `preface`: PROXY protocol before the first message.
//! - `transaction`: exchanges in flight; `order`: which response answers which request.
//! - `emit`: from an exchange to its event.
//! - `judge`: framing of both directions; decides what was a message.
//! - `connection`: TCP below the judge: order, holes, SYN, FIN, RST.

pub(crate) mod body;
pub(crate) mod connection;
pub mod context;
pub mod decode;
pub(crate) mod emit;
pub mod fields;
pub mod head;
pub(crate) mod judge;
pub mod known;
pub(crate) mod order;
pub mod preface;
pub mod target;
pub(crate) mod transaction;
