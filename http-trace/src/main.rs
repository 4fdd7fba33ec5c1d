//! The command `http-trace`.
#![forbid(unsafe_code)]

fn main() {}
