//! HTTP/1.x as the host sees it: heads and transactions.
//!
//! # Layout
//! - [`decode`]: bytes of a head to a decoded head.
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
pub(crate) mod judge;
pub(crate) mod order;
pub mod preface;
pub(crate) mod transaction;
