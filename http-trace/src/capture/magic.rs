//! File types by their first bytes: captures, compression formats, and files that users pass by mistake.
//! Reads nothing.

/// Number of bytes needed.
pub const LEN: usize = 4;

/// Where a tar archive names its format (POSIX.1-2024, pax), and how many bytes show it.
const TAR: std::ops::Range<usize> = 257..262;
pub const TAR_LEN: usize = TAR.end;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Classic pcap in either byte order, in µs or ns, and its modified variant in little-endian order.
    Pcap,
    /// The modified variant of pcap in big-endian order.
    ModifiedPcapBigEndian,
    /// pcapng, recognised by its section header block.
    PcapNg,
    /// gzip (RFC 1952 §2.3.1).
    Gzip,
    /// Zstandard: a frame, or one of the sixteen kinds of skippable frames (RFC 8878 §3.1).
    Zstd,
    Bzip2,
    Xz,
    /// LZ4 frame format.
    Lz4,
    /// Solaris snoop (RFC 1761).
    Snoop,
    BluetoothSnoop,
    Zip,
    /// A tar archive, which begins with the name of a file.
    Tar,
    /// A Linux executable.
    Elf,
    /// Printable ASCII.
    Text,
    Unknown,
}

impl Kind {
    /// The kind of a file that begins with these bytes.
    pub fn of(first: [u8; LEN]) -> Self {
        match first {
            [0xa1, 0xb2, 0xc3, 0xd4] | [0xd4, 0xc3, 0xb2, 0xa1] => Kind::Pcap,
            [0xa1, 0xb2, 0x3c, 0x4d] | [0x4d, 0x3c, 0xb2, 0xa1] => Kind::Pcap,
            [0x34, 0xcd, 0xb2, 0xa1] => Kind::Pcap,
            [0xa1, 0xb2, 0xcd, 0x34] => Kind::ModifiedPcapBigEndian,
            [0x0a, 0x0d, 0x0d, 0x0a] => Kind::PcapNg,
            [0x1f, 0x8b, ..] => Kind::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Kind::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9'] => Kind::Bzip2,
            [0xfd, b'7', b'z', b'X'] => Kind::Xz,
            [0x04, 0x22, 0x4d, 0x18] => Kind::Lz4,
            [b's', b'n', b'o', b'o'] => Kind::Snoop,
            [b'b', b't', b's', b'n'] => Kind::BluetoothSnoop,
            [b'P', b'K', 3, 4] => Kind::Zip,
            [0x7f, b'E', b'L', b'F'] => Kind::Elf,
            text if text.iter().all(printable) => Kind::Text,
            _ => Kind::Unknown,
        }
    }

    /// The kind of a file of which more bytes are known, up to [`TAR_LEN`] of them. The name of a tar archive's first
    /// file ends in NUL: a log whose first request was written to look like one stays text.
    pub fn of_begin(bytes: &[u8]) -> Self {
        let kind = bytes.first_chunk().map_or(Kind::Unknown, |first| Kind::of(*first));
        let has_nul = bytes.iter().take(TAR_LEN).any(|byte| *byte == 0);
        match kind {
            Kind::Text | Kind::Unknown if has_nul && bytes.get(TAR) == Some(b"ustar") => Kind::Tar,
            Kind::Text if has_nul => Kind::Unknown,
            kind => kind,
        }
    }

    /// Whether it is a capture, read or not.
    pub fn is_capture(self) -> bool {
        use Kind::{BluetoothSnoop, ModifiedPcapBigEndian, Pcap, PcapNg, Snoop};
        matches!(self, Pcap | ModifiedPcapBigEndian | PcapNg | Snoop | BluetoothSnoop)
    }

    /// Whether [`super::Frames`] reads it, after decompression if necessary.
    pub fn is_read(self) -> bool {
        matches!(self, Kind::Pcap | Kind::PcapNg | Kind::Gzip | Kind::Zstd)
    }
}

fn printable(byte: &u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace()
}
