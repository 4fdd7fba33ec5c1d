//! Numbers for tags and tunnels, which records and origins carry so that an origin stays small.

use std::collections::HashMap;
use std::sync::Arc;

use http_trace_common::walk::Encap;

/// Limit of numbered tunnels. If forged ones evict the oldest, events in flight under those numbers name
/// no tunnel, never a wrong one.
const MOST: usize = 1 << 14;

/// Tags and tunnels by number, and their numbers.
#[derive(Debug, Default)]
pub struct Encaps {
    by_number: HashMap<u32, Arc<Encap>, foldhash::quality::RandomState>,
    numbers: HashMap<Arc<Encap>, u32, foldhash::quality::RandomState>,
    last: u32,
}

impl Encaps {
    /// The number of these tags and tunnels, assigned if they have none yet; 0 for an empty list.
    pub fn number(&mut self, encap: &Encap) -> u32 {
        if encap.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(encap) {
            return *number;
        }
        if self.numbers.len() >= MOST {
            let oldest = self.last - (MOST / 2) as u32;
            self.numbers.retain(|_, number| *number > oldest);
            self.by_number.retain(|number, _| *number > oldest);
        }
        if self.last == u32::MAX {
            *self = Encaps::default();
        }
        self.last += 1;
        let encap = Arc::new(*encap);
        self.by_number.insert(self.last, encap.clone());
        self.numbers.insert(encap, self.last);
        self.last
    }

    /// The tags and tunnels with this number, if it is known.
    pub fn get(&self, number: u32) -> Option<&Arc<Encap>> {
        self.by_number.get(&number)
    }
}

#[cfg(test)]
mod tests {
    use http_trace_common::walk::Tunnel;

    use super::*;

    fn vxlan(vni: u64) -> Encap {
        let tunnel = Tunnel { what: Tunnel::MARK | Tunnel::VXLAN | vni, ..Tunnel::default() };
        tunnel.encap()
    }

    #[test]
    fn numbers_stand_for_one_tunnel_and_the_oldest_are_forgotten() {
        let mut encaps = Encaps::default();
        assert_eq!(encaps.number(&Encap::default()), 0);
        let first = encaps.number(&vxlan(1));
        assert_eq!(first, encaps.number(&vxlan(1)));
        let many = 3 * MOST as u64;
        for vni in 2..many {
            let number = encaps.number(&vxlan(vni));
            assert_eq!(encaps.get(number).map(|e| **e), Some(vxlan(vni)));
        }
        assert_eq!(encaps.get(first), None, "forgotten, and of no other tunnel");
        assert!(encaps.by_number.len() <= MOST && encaps.numbers.len() <= MOST);
        assert_ne!(encaps.number(&vxlan(1)), first);
    }
}
