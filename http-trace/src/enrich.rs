//! Who is behind an event: what the connection's peers alone do not say. Adds to events and
//! changes nothing that was on the wire; performs no I/O.

pub mod proxy;
