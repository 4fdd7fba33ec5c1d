//! The parts of Protocol Buffers that OTLP needs: appends fields to a buffer. Must not know message types.

/// Wire types (Protocol Buffers, encoding).
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

fn tag(out: &mut Vec<u8>, field: u32, wire: Wire) {
    varint(out, u64::from(field << 3 | wire as u32));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number unless it is 0, the default.
pub fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        number_even_0(out, field, value);
    }
}

/// Appends a number even if it is 0.
pub fn number_even_0(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, Wire::Varint);
    varint(out, value);
}

/// Appends eight bytes: a time, a count, or the bits of a floating-point number.
pub fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, Wire::Fixed64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends four bytes.
pub fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    tag(out, field, Wire::Fixed32);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends bytes or UTF-8 text.
pub fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, Wire::Bytes);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a message whose fields `fill` appends.
pub fn message(out: &mut Vec<u8>, field: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, Wire::Bytes);
    let begin = out.len();
    out.push(0);
    fill(out);
    let length = (out.len() - begin - 1) as u64;
    if length < 0x80 {
        out[begin] = length as u8;
    } else {
        let mut prefix = Vec::with_capacity(5);
        varint(&mut prefix, length);
        out.splice(begin..=begin, prefix);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protobuf::{Read, find, is_message};

    #[test]
    fn a_long_message_gets_its_length() {
        let mut out = Vec::new();
        message(&mut out, 1, |out| bytes(out, 2, &[b'x'; 300]));
        assert_eq!(&out[..6], [0x0a, 0xaf, 0x02, 0x12, 0xac, 0x02]);
        let Some(Read::Bytes(inner)) = find(&out, 1) else { panic!("a message") };
        assert_eq!(find(inner, 2), Some(Read::Bytes(&[b'x'; 300])));
    }

    proptest! {
        #[test]
        fn fields_are_read_back(numbers in proptest::collection::vec((1_u32..99, any::<u64>()), 0..9)) {
            let mut out = Vec::new();
            for (field, value) in &numbers {
                number_even_0(&mut out, *field, *value);
                fixed64(&mut out, 200, *value);
                fixed32(&mut out, 201, *value as u32);
            }
            prop_assert!(is_message(&out));
            for (field, _) in &numbers {
                let first = numbers.iter().find(|(f, _)| f == field).map(|(_, v)| Read::Number(*v));
                prop_assert_eq!(find(&out, *field), first);
            }
        }
    }
}
