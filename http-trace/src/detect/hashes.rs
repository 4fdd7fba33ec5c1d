//! Keyed hashes of values: an attacker must not choose what collides. The key is random, and kept
//! with what is counted, since counters are found by these hashes after a restart too.

use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// Makes hashers that are the same for the same key.
#[derive(Clone, Debug)]
pub struct Hashes {
    key: [u64; 2],
    shared: SharedSeed,
}

impl Default for Hashes {
    /// With a random key, of the system's randomness.
    fn default() -> Self {
        let random = || std::hash::RandomState::new().build_hasher().finish();
        // Two states of one thread differ by a counter only; what is hashed differs too.
        let other = std::hash::RandomState::new().hash_one(random());
        Hashes::with_key([random(), other])
    }
}

impl Hashes {
    /// With this key.
    pub const fn with_key(key: [u64; 2]) -> Self {
        // The shared seed is secret too: with a known one, texts can be made that collide under
        // every other seed.
        let shared = SharedSeed::from_u64(key[1]);
        Hashes { key, shared }
    }

    /// The key.
    pub const fn key(&self) -> [u64; 2] {
        self.key
    }

    /// A hasher.
    pub const fn build_hasher(&self) -> FoldHasher<'_> {
        FoldHasher::with_seed(self.key[0], &self.shared)
    }

    /// A hash of two hashes of this key, in their order.
    pub const fn mix(&self, one: u64, other: u64) -> u64 {
        let full = (one ^ self.key[0]) as u128 * (other ^ self.key[1].rotate_left(32)) as u128;
        full as u64 ^ (full >> 64) as u64
    }

    /// Differs when values are hashed otherwise than when a state was saved.
    pub fn probe(&self) -> u64 {
        let mut hasher = self.build_hasher();
        hasher.write(b"what hashes otherwise finds no counter again");
        hasher.write_u128(u128::from(self.key[0]));
        self.mix(hasher.finish(), self.key[1])
    }
}
