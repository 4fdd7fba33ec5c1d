//! Errors of captures. Each names the file and, where known, the byte offset (in the decompressed stream),
//! and says whether the rest was read.

use std::io;

/// Why a capture, or the rest of it, could not be read. All packets before the offset were delivered.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened, or the folder listed.
    #[error("cannot be opened: {0}")]
    Open(#[source] io::Error),
    /// It does not begin like any capture format.
    #[error("is not a capture: {0} (supported: pcap and pcapng, plain, .gz or .zst)")]
    NotACapture(&'static str),
    /// A given folder contains no capture.
    #[error("holds no captures (no file in it is pcap or pcapng)")]
    EmptyFolder,
    /// The file is truncated within a packet or block.
    #[error(
        "is truncated: the {what} at byte {offset} needs {need} bytes, only {have} are present; \
         everything before it was read"
    )]
    Cut {
        /// Start of the incomplete part.
        offset: u64,
        /// Kind of the incomplete part.
        what: &'static str,
        /// Its length in bytes, as far as known.
        need: u64,
        /// Number of its bytes that are present.
        have: u64,
    },
    /// Lengths or values that no writer produces. Reading stops, because the start of the next packet is
    /// unknown.
    #[error("is corrupt at byte {offset}: {what}; everything before it was read")]
    Damaged {
        /// Start of the invalid part.
        offset: u64,
        what: String,
    },
    /// An error of the operating system or the decompressor.
    #[error("read error at byte {offset}: {source}; everything before it was read")]
    Read {
        /// Number of (decompressed) bytes read so far.
        offset: u64,
        source: io::Error,
    },
    /// A pcapng packet refers to an interface that its section does not describe. It was left out.
    #[error("has a packet at byte {offset} of interface {interface}, which is not described")]
    UnknownInterface {
        /// Start of the packet's block.
        offset: u64,
        interface: u32,
    },
    #[error(
        "has packets of the unsupported link type {number} ({name}); they were left out (capture \
         on another interface, or convert them to Ethernet or raw IP)"
    )]
    LinkType {
        /// Its number in the registry at tcpdump.org.
        number: u32,
        /// Its name there.
        name: &'static str,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", shown(file))]
pub struct CaptureError {
    /// The path as given or found; `-` for standard input.
    pub file: String,
    #[source]
    pub problem: Problem,
}

/// The name of a capture in messages.
pub fn shown(file: &str) -> &str {
    match file {
        "-" => "standard input",
        file => file,
    }
}
