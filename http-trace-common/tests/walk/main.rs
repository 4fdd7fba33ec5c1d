//! The full walk: each link type, tag and tunnel in a frame of its own, what is refused, and what
//! must hold for any bytes at all.

mod any_bytes;
mod build;
mod fragments;
mod link_types;
mod refused;
mod tunnels;
