//! HTTP/1.x as the host sees it: heads and transactions.

pub mod decode;
pub mod head;
pub mod target;
