//! Captures: formats, compression, order, what is cut or damaged, and the records they give.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod build;
mod damage;
mod files;
mod formats;
mod records;
