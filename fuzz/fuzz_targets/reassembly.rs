//! Pieces of a stream in any order, compared with a table of single bytes: the first copy of a byte wins,
//! bytes win over declared skips, and the output is in order.
#![no_main]

use std::collections::BTreeMap;

use http_trace_engine::origin::position;
use http_trace_engine::transport::reassembly::{Buffer, Content};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut buffer: Buffer<u8> = Buffer::default();
    // A byte; `None` for a position in a declared skip.
    let mut model: BTreeMap<u64, Option<u8>> = BTreeMap::new();
    let mut rest = data;
    while let [action, low, high, len, after @ ..] = rest {
        let start = u64::from(u16::from_le_bytes([*low, *high])) % 1024;
        let len = usize::from(*len);
        rest = after;
        match action & 3 {
            0 | 1 => {
                let (bytes, after) = rest.split_at(len.min(rest.len()));
                rest = after;
                if bytes.is_empty() {
                    continue;
                }
                let (mut stored, mut copied, mut differs) = (0, 0, false);
                for (at, byte) in (start..).zip(bytes) {
                    match model.entry(at).or_insert(None) {
                        Some(there) => {
                            copied += 1;
                            differs |= there != byte;
                        }
                        free => {
                            stored += 1;
                            *free = Some(*byte);
                        }
                    }
                }
                let got = buffer.insert_bytes(start, bytes, action & 4 != 0, *action);
                assert_eq!((got.copied, got.differs), (copied, differs));
                assert_eq!(got.stored, stored);
            }
            2 => {
                let end = start + len as u64;
                for at in start..end {
                    model.entry(at).or_insert(None);
                }
                buffer.insert_skip(start, end, *action);
            }
            _ => pop(&mut buffer, &mut model, start),
        }
    }
    while !buffer.is_empty() {
        pop(&mut buffer, &mut model, 0);
    }
    assert!(model.is_empty(), "{} bytes got lost", model.len());
    assert_eq!(buffer.size(), 0);
    if let Some(bytes) = data.first_chunk::<12>() {
        let near = u64::from_le_bytes(bytes[..8].try_into().unwrap_or_default()) >> 2 | 1 << 33;
        let seq = u32::from_le_bytes(bytes[8..].try_into().unwrap_or_default());
        let at = position(near, seq);
        assert_eq!(at as u32, seq);
        assert!(at.abs_diff(near) <= 1 << 31);
    }
});

/// Takes the first piece from a position on, and compares it with the model.
fn pop(buffer: &mut Buffer<u8>, model: &mut BTreeMap<u64, Option<u8>>, from: u64) {
    *model = model.split_off(&from);
    let Some(piece) = buffer.pop_from(from) else {
        assert!(model.is_empty());
        return;
    };
    assert_eq!(model.first_key_value().map(|(at, _)| *at), Some(piece.start));
    assert!(!piece.content.is_empty());
    for (nth, at) in (piece.start..piece.end()).enumerate() {
        let there = match &piece.content {
            Content::Bytes(bytes) => Some(bytes[nth]),
            Content::Skip(_) => None,
        };
        assert_eq!(model.remove(&at), Some(there), "at {at}");
    }
}
