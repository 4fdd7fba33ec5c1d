//! The kernel map of the agent's own sockets, kept in sync with [`crate::own_sockets::OwnSockets`].

use std::net::SocketAddr;

use aya::maps::{HashMap, MapData};
use http_trace_common::flow::{v4_mapped, words};

use crate::own_sockets::Table;

/// An address as two words, and a port, in the layout of the programs' lookup.
pub type OwnWords = [u64; 3];

#[derive(Debug)]
pub struct OwnMap(pub HashMap<MapData, OwnWords, u32>);

impl Table for OwnMap {
    fn add(&mut self, local: SocketAddr) -> Result<(), String> {
        self.0.insert(own_words(local), 1, 0).map_err(|error| error.to_string())
    }

    fn remove(&mut self, local: SocketAddr) {
        let _ = self.0.remove(&own_words(local));
    }
}

fn own_words(local: SocketAddr) -> OwnWords {
    let address = match local {
        SocketAddr::V4(v4) => v4_mapped(v4.ip().octets()),
        SocketAddr::V6(v6) => v6.ip().octets(),
    };
    let [high, low] = words(&address);
    [high, low, u64::from(local.port())]
}
