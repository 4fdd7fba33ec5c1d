//! What is counted as bytes for a file: a header that tells whether they are whole and of this
//! version, then the payload. No I/O, and no panic whatever the bytes.

use sha1::{Digest, Sha1};

const MAGIC: [u8; 8] = *b"httptrst";

/// To be raised with every change of what is saved.
pub const VERSION: u32 = 6;

/// Magic, version, length of the payload, checksum of the payload.
pub const HEADER: usize = 8 + 4 + 8 + 20;

/// Why bytes are no state of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// No magic.
    #[error("it is no state file of http-trace")]
    NotOurs,
    /// Another version.
    #[error("it is of version {0}, and this is version {VERSION}")]
    Version(u32),
    /// Cut or changed.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// What stands before a payload, which may come in parts.
pub fn header<'a>(payload: impl Iterator<Item = &'a [u8]>) -> [u8; HEADER] {
    let (mut checksum, mut len) = (Sha1::new(), 0);
    for part in payload {
        checksum.update(part);
        len += part.len() as u64;
    }
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&len.to_le_bytes());
    out[20..].copy_from_slice(&checksum.finalize());
    out
}

/// The payload with its header.
#[cfg(test)]
pub fn seal(payload: &[u8]) -> Vec<u8> {
    [&header([payload].into_iter()), payload].concat()
}

/// The payload of a whole state of this version.
///
/// # Errors
/// Anything else.
pub fn open(bytes: &[u8]) -> Result<&[u8], BadState> {
    let damaged = |why: &str| BadState::Damaged(why.to_owned());
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(BadState::NotOurs)?;
    if *magic != MAGIC {
        return Err(BadState::NotOurs);
    }
    let cut = || damaged("its header is cut");
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(BadState::Version(version));
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (checksum, payload) = rest.split_first_chunk::<20>().ok_or_else(cut)?;
    if payload.len() as u64 != u64::from_le_bytes(*length) {
        return Err(damaged("it is not as long as it says"));
    }
    if Sha1::digest(payload)[..] != checksum[..] {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_and_ours_is_refused() {
        let good = seal(b"payload");
        assert_eq!(open(&good), Ok(&b"payload"[..]));
        for cut in 0..good.len() {
            assert!(open(&good[..cut]).is_err(), "{cut}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&bad).is_err(), "{at}");
        }
        let mut other = good;
        other[8] = 9;
        assert_eq!(open(&other), Err(BadState::Version(9)));
    }
}
