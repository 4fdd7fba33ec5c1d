//! Which bytes that hint at secrets a text contains, found in one pass: most values contain none, and most
//! others rule out some kinds of secrets. Finds no secret itself.

use super::shapes::SHAPES;

/// A set of kinds of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks(u64);

impl Marks {
    pub(super) const EQUALS: Marks = Marks(1);
    pub(super) const COLON: Marks = Marks(1 << 1);
    /// Follows an authentication scheme.
    pub(super) const BLANK: Marks = Marks(1 << 2);
    pub(super) const AT: Marks = Marks(1 << 3);
    /// In a text that needs decoding.
    pub(super) const ESCAPE: Marks = Marks(1 << 4);
    pub(super) const LESS: Marks = Marks(1 << 5);
    /// Three bytes that a shape may begin with: the prefixes of shapes have a bit each, as far as there are bits.
    pub(super) const SHAPE: Marks = Marks(!0 << 6);

    pub(super) fn of(text: &[u8]) -> Marks {
        let (mut all, mut begun, mut continued) = (0, 0, 0);
        for byte in text {
            let [first, second, third] = OF_BYTE[usize::from(*byte)];
            all |= third & (continued | !Marks::SHAPE.0);
            continued = second & begun;
            begun = first;
        }
        Marks(all)
    }

    /// Whether any mark of `of` is present.
    pub(super) const fn any(self, of: Marks) -> bool {
        self.0 & of.0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The bits of the prefixes that have a byte first, second and third; with the third the mark of the byte.
static OF_BYTE: [[u64; 3]; 256] = {
    let mut of_byte = [[0; 3]; 256];
    of_byte[b'=' as usize][2] = Marks::EQUALS.0;
    of_byte[b':' as usize][2] = Marks::COLON.0;
    of_byte[b' ' as usize][2] = Marks::BLANK.0;
    of_byte[b'@' as usize][2] = Marks::AT.0;
    of_byte[b'%' as usize][2] = Marks::ESCAPE.0;
    of_byte[b'\\' as usize][2] = Marks::ESCAPE.0;
    of_byte[0][2] = Marks::ESCAPE.0;
    of_byte[b'<' as usize][2] = Marks::LESS.0;
    let (mut row, mut bit) = (0, 6);
    while row < SHAPES.len() {
        let prefixes = SHAPES[row].1.as_bytes();
        let (mut at, mut nth) = (0, 0);
        while at < prefixes.len() {
            if nth < 3 {
                of_byte[prefixes[at] as usize][nth] |= 1 << bit;
            }
            nth += 1;
            at += 1;
            if at == prefixes.len() || prefixes[at] == b' ' {
                bit = if bit < 63 { bit + 1 } else { 6 };
                nth = 0;
                at += 1;
            }
        }
        row += 1;
    }
    of_byte
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_mark_wherever_it_stands() {
        for (byte, mark) in [
            (b'=', Marks::EQUALS),
            (b':', Marks::COLON),
            (b' ', Marks::BLANK),
            (b'@', Marks::AT),
            (b'%', Marks::ESCAPE),
            (b'\\', Marks::ESCAPE),
            (b'<', Marks::LESS),
            (0, Marks::ESCAPE),
        ] {
            for at in 0..40 {
                let mut text = [b'a'; 40];
                text[at] = byte;
                assert_eq!(Marks::of(&text), mark, "{byte} at {at}");
            }
        }
        for byte in (0..=u8::MAX).filter(|b| !b"=: @%\\<\0".contains(b)) {
            assert!(Marks::of(&[byte]).is_empty(), "{byte}");
        }
    }

    #[test]
    fn every_prefix_of_a_shape_is_marked() {
        let prefixes = SHAPES.iter().flat_map(|(_, prefixes)| prefixes.split(' '));
        for prefix in prefixes {
            assert!(prefix.len() >= 3, "{prefix}");
            for before in ["", "a", "eyJ"] {
                let text = format!("{before}{prefix}");
                assert!(Marks::of(text.as_bytes()).any(Marks::SHAPE), "{text}");
            }
        }
        for text in
            ["Mozilla/5.0 (X11; Linux x86_64)", "text/html; charset=utf-8", "EA", "gzip, br"]
        {
            assert!(!Marks::of(text.as_bytes()).any(Marks::SHAPE), "{text}");
        }
    }
}
