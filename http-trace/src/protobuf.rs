//! Reads fields of Protocol Buffers messages from untrusted bytes. Must not know message types.

/// A parsed field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'a> {
    Number(u64),
    /// A text or a message.
    Bytes(&'a [u8]),
    /// Four or eight bytes of a fixed-size number.
    Fixed(&'a [u8]),
}

/// Numbers and values of the fields, up to the first that is malformed.
pub fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Read<'_>)> {
    std::iter::from_fn(move || take_field(&mut message))
}

/// The first field with this number; `None` if a field before it is malformed.
pub fn find(message: &[u8], field: u32) -> Option<Read<'_>> {
    let mut named = fields(message).filter(|(number, _)| *number == u64::from(field));
    named.next().map(|(_, read)| read)
}

/// The first field with this number, if it is a text or a message.
pub fn bytes(message: &[u8], field: u32) -> Option<&[u8]> {
    match find(message, field)? {
        Read::Bytes(bytes) => Some(bytes),
        Read::Number(_) | Read::Fixed(_) => None,
    }
}

/// The first field with this number, if it is a number; 0, the default of all, otherwise.
pub fn number(message: &[u8], field: u32) -> u64 {
    match find(message, field) {
        Some(Read::Number(number)) => number,
        _ => 0,
    }
}

/// Whether these bytes are a well-formed message. An empty one is.
pub fn is_message(mut message: &[u8]) -> bool {
    while !message.is_empty() {
        if take_field(&mut message).is_none_or(|(number, _)| number == 0) {
            return false;
        }
    }
    true
}

/// The next field and its number. Groups are deprecated and not supported.
fn take_field<'a>(message: &mut &'a [u8]) -> Option<(u64, Read<'a>)> {
    let key = take_varint(message)?;
    let read = match key & 7 {
        0 => Read::Number(take_varint(message)?),
        1 => Read::Fixed(message.split_off(..8)?),
        2 => {
            let length = usize::try_from(take_varint(message)?).ok()?;
            Read::Bytes(message.split_off(..length)?)
        }
        5 => Read::Fixed(message.split_off(..4)?),
        _ => return None,
    };
    Some((key >> 3, read))
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_message() {
        for text in ["<html>", "OK", "{}", "\n\x05cut", "\0\0", "error: no such page"] {
            assert!(!is_message(text.as_bytes()), "{text:?}");
        }
        for text in ["", "\n\0", "\n\x02\x08\x01"] {
            assert!(is_message(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn fields_end_at_one_that_is_malformed() {
        let message = b"\x08\x07\x12\x01x\x1d1234\x21\x31\x32\x33\x34\x35\x36\x37\x38\x12\x09cut";
        let expected = [
            (1, Read::Number(7)),
            (2, Read::Bytes(b"x")),
            (3, Read::Fixed(b"1234")),
            (4, Read::Fixed(b"12345678")),
        ];
        assert!(fields(message).eq(expected));
        assert!(!is_message(message));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..99), field in 0_u32..9) {
            let _ = find(&bytes, field);
            let _ = is_message(&bytes);
        }
    }
}
