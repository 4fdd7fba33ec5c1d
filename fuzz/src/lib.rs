//! Shared code of the fuzz targets: conversations as segments, and comparison of events. No parser of its
//! own, and not part of the product.
#![forbid(unsafe_code)]

pub mod conversation;
pub mod essence;
pub mod events;
