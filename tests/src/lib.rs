//! What the integration tests share: packet builders, generated conversations, real servers.
#![forbid(unsafe_code)]
