//! What fuzz targets share: conversations as segments, and how events are compared. Not a parser of
//! its own, and not part of the product.
#![forbid(unsafe_code)]

pub mod conversation;
pub mod essence;
pub mod events;
