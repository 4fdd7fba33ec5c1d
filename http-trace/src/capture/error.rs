//! Faults of captures. Every error names the file and, where there is one, the byte offset (in the
//! decompressed stream), and says whether the rest was read.

use std::io;

/// Why a capture, or the rest of it, could not be read. All packets before the offset were
/// delivered.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened, or the folder listed.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// Its first bytes are those of no capture format.
    #[error("is no capture: {0} (pcap and pcapng are read, plain, .gz or .zst)")]
    NotACapture(&'static str),
    /// A folder was named in which there is no capture.
    #[error("holds no capture (no file in it begins like pcap or pcapng)")]
    EmptyFolder,
    /// The file ends within a packet or block.
    #[error(
        "is cut: at byte {offset} a {what} of {need} bytes begins, of which only {have} are there; \
         everything before it was read"
    )]
    Cut {
        /// Where the incomplete part begins.
        offset: u64,
        /// What begins there.
        what: &'static str,
        /// Its length in bytes, as far as it is known.
        need: u64,
        /// How many bytes of it there are.
        have: u64,
    },
    /// Lengths or values that no writer produces. Reading stopped, since nothing says where the
    /// next packet begins.
    #[error("is damaged at byte {offset}: {what}; everything before it was read")]
    Damaged {
        /// Where the offending part begins.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system or the decompressor failed.
    #[error("cannot be read on at byte {offset}: {source}; everything before it was read")]
    Read {
        /// How many (decompressed) bytes had been read.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// A pcapng packet names an interface that its section does not describe. It was left out.
    #[error("has a packet at byte {offset} of interface {interface}, which is not described")]
    UnknownInterface {
        /// Where the packet's block begins.
        offset: u64,
        /// The number it gives.
        interface: u32,
    },
    /// Packets of a link type that this program does not know. They were left out.
    #[error(
        "has packets of link type {number} ({name}), which is not supported; they were left out \
         (re-capture on another interface, or convert them to Ethernet or raw IP)"
    )]
    LinkType {
        /// Its number in the registry at tcpdump.org.
        number: u32,
        /// Its name there.
        name: &'static str,
    },
}

/// A [`Problem`] and the file it is with.
#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", shown(file))]
pub struct CaptureError {
    /// The path as it was given or found; `-` for standard input.
    pub file: String,
    /// What is wrong.
    #[source]
    pub problem: Problem,
}

/// Name of a capture in messages.
pub fn shown(file: &str) -> &str {
    match file {
        "-" => "standard input",
        file => file,
    }
}
