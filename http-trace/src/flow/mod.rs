//! Connections below HTTP: the table that holds them and the reassembly of their bytes.
//!
//! Knows sequence numbers and bounds; knows nothing of messages.

pub mod reassembly;
pub mod table;
