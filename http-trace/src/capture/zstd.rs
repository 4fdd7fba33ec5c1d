//! Decodes Zstandard (RFC 8878) without C code.
//!
//! The decoder holds back up to a window of data until the frame ends: packets from a pipe are delayed by
//! that much (2 MiB of capture at `zstd`'s default level). It holds at most [`MAX_WINDOW`] and one block,
//! whatever the frame claims.

use std::io::{self, BufRead, Read};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Largest accepted window: the default limit of `zstd`, which covers `--ultra -22` and `--long=27`. Memory
/// is allocated as bytes arrive, not as the header claims.
const MAX_WINDOW: u64 = 128 << 20;

/// An empty raw block marked as last (RFC 8878 §3.1.1.2), and room for a checksum.
const END_OF_FRAME: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Decodes all frames of a stream in order; skippable frames are skipped.
pub struct Decoder<R> {
    source: R,
    /// The current frame, or the rest of its window; `None` between frames.
    frame: Option<Box<FrameDecoder>>,
    /// Why decoding failed: returned after the rest of the window, and for every further read, as nothing after it can
    /// be trusted.
    error: Option<io::Error>,
}

impl<R: BufRead> Decoder<R> {
    /// Decodes a stream that begins with a frame.
    pub fn new(source: R) -> Self {
        Decoder { source, frame: None, error: None }
    }

    /// Opens the next frame; `None` at the end of the stream or after a skippable frame.
    fn open(&mut self) -> io::Result<Option<Box<FrameDecoder>>> {
        let mut frame = Box::new(FrameDecoder::new());
        frame.set_max_window_size(MAX_WINDOW);
        match frame.init(&mut self.source) {
            Ok(()) => Ok(Some(frame)),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut (&mut self.source).take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the stream ends within a skippable zstd frame",
                    ));
                }
                Ok(None)
            }
            Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => Err(invalid(format!(
                "a zstd frame needs a window of {requested} bytes, the limit is {MAX_WINDOW}; \
                 decompress it first with `zstd -d --long=31`"
            ))),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(frame) = &mut self.frame
                && frame.can_collect() > 0
            {
                return frame.read(out);
            }
            if let Some(error) = &self.error {
                return Err(io::Error::new(error.kind(), error.to_string()));
            }
            let one = BlockDecodingStrategy::UptoBlocks(1);
            match &mut self.frame {
                None if self.source.fill_buf()?.is_empty() => return Ok(0),
                None => self.frame = self.open()?,
                Some(frame) if frame.is_finished() => {
                    let stored = frame.get_checksum_from_data();
                    let matches = stored.is_none() || stored == frame.get_calculated_checksum();
                    self.frame = None;
                    if !matches {
                        return Err(invalid(
                            "the checksum of a zstd frame does not match its content".into(),
                        ));
                    }
                }
                Some(frame) => {
                    if let Err(error) = frame.decode_blocks(&mut self.source, one) {
                        self.error = Some(failed(&error));
                        // Data decoded before the error is still in the window; an end block releases it.
                        let one = BlockDecodingStrategy::UptoBlocks(1);
                        let _ = frame.decode_blocks(&END_OF_FRAME[..], one);
                    }
                }
            }
        }
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Converts an error of the decoder, keeping that of the stream if it is the cause.
fn failed(error: &FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return if io.kind() == io::ErrorKind::UnexpectedEof {
                io::Error::new(io.kind(), "the stream ends within a zstd frame")
            } else {
                io::Error::new(io.kind(), io.to_string())
            };
        }
        cause = inner.source();
    }
    invalid(format!("zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    /// Output of `zstd -19 --check` (1.5.4) for [`content`]: a frame whose window is its content.
    const SINGLE_SEGMENT: [u8; 69] = [
        0x28, 0xb5, 0x2f, 0xfd, 0x64, 0x18, 0x14, 0xbd, 0x01, 0x00, 0x14, 0x02, 0x48, 0x54, 0x54,
        0x50, 0x2f, 0x31, 0x2e, 0x31, 0x20, 0x32, 0x30, 0x30, 0x20, 0x4f, 0x4b, 0x0d, 0x0a, 0x72,
        0x6f, 0x77, 0x3a, 0x20, 0x30, 0x0d, 0x0a, 0x0d, 0x0a, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36,
        0x08, 0x20, 0x90, 0x63, 0xeb, 0x58, 0x04, 0x6c, 0xc0, 0x9e, 0xcd, 0x6c, 0x69, 0x9f, 0xcd,
        0x62, 0x8b, 0x5d, 0xb1, 0x63, 0x2e, 0x1a, 0xd1, 0x9c,
    ];

    fn content() -> Vec<u8> {
        let row = |i| format!("HTTP/1.1 200 OK\r\nrow: {}\r\n\r\n", i % 7);
        (0..200).map(row).collect::<String>().into_bytes()
    }

    /// Decoded data and result.
    fn decode(bytes: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let mut decoder = Decoder::new(BufReader::with_capacity(7, bytes));
        let mut out = Vec::new();
        let end = decoder.read_to_end(&mut out).map(drop);
        (out, end)
    }

    #[test]
    fn frames_decode_to_their_content() {
        let skippable = [0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        // A window of 1 KiB, a raw block of three bytes, an RLE block of five `x`, no checksum.
        let blocks = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0x18, 0, 0, b'a', b'b', b'c', 0x2b, 0, 0, b'x'];
        for (name, bytes, expected) in [
            ("single segment", SINGLE_SEGMENT.to_vec(), content()),
            ("raw and RLE blocks", blocks.to_vec(), b"abcxxxxx".to_vec()),
            ("nothing", vec![], vec![]),
            ("only a skippable frame", skippable.to_vec(), vec![]),
            (
                "several, skippable ones between and after",
                [&blocks[..], &skippable, &SINGLE_SEGMENT, &skippable].concat(),
                [&b"abcxxxxx"[..], &content()].concat(),
            ),
        ] {
            let (out, end) = decode(&bytes);
            end.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(out == expected, "{name}: {} bytes", out.len());
        }
    }

    #[test]
    fn what_was_decoded_comes_out_before_the_error() {
        let mut wrong_sum = SINGLE_SEGMENT;
        wrong_sum[68] ^= 1;
        let absurd_window = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xf7, 1, 0, 0];
        let mut absurd_content = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
        absurd_content.extend([0xff; 8]);
        let two_blocks = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0x18, 0, 0, b'a', b'b', b'c', 0x2b];
        for (name, bytes, expected, error) in [
            (
                "cut in the checksum",
                &SINGLE_SEGMENT[..67],
                content(),
                "the stream ends within a zstd frame",
            ),
            (
                "cut in a block's header",
                &two_blocks,
                b"abc".to_vec(),
                "the stream ends within a zstd frame",
            ),
            ("wrong checksum", &wrong_sum, content(), "the checksum"),
            ("absurd window", &absurd_window, vec![], "a zstd frame needs a window of"),
            ("absurd content", &absurd_content, vec![], "a zstd frame needs a window of"),
            ("no frame", b"HTTP/1.1", vec![], "zstd: BadMagicNumber"),
            (
                "cut skippable frame",
                &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1],
                vec![],
                "the stream ends within a skippable",
            ),
        ] {
            let (out, end) = decode(bytes);
            let message = end.expect_err(name).to_string();
            assert!(message.starts_with(error), "{name}: {message}");
            assert!(out == expected, "{name}: {} bytes", out.len());
        }
    }

    proptest! {
        /// Whatever a file claims, decoding fails with an error and stays within bounds.
        #[test]
        fn damaged_frames_never_panic(
            at in 4usize..69, byte: u8, cut in 4usize..=69, other in 4usize..69, and: u8,
        ) {
            let mut bytes = SINGLE_SEGMENT;
            bytes[at] = byte;
            bytes[other] ^= and;
            let (out, _) = decode(&bytes[..cut]);
            prop_assert!(out.len() <= 4 << 20);
        }
    }
}
