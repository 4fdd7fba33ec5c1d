//! What the programs say in words, by aya-log: read from its buffer and handed on line by line.
//! Losses are not told here but by [`super::counters`].

use std::fmt;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};

/// What takes a line.
pub type Say = fn(&str);

/// Reads the buffer of one loaded object. Its map is the programs' too: it must live as long as
/// programs are loaded.
pub struct ProgramLog(EbpfLogger<Lines>);

impl ProgramLog {
    /// Takes the buffer out of an object that was loaded with [`super::loader::Settings::log`].
    ///
    /// # Errors
    /// When the object has none.
    pub fn new(ebpf: &mut Ebpf, say: Say) -> Result<Self, aya_log::Error> {
        EbpfLogger::init_with_logger(ebpf, Lines(say)).map(ProgramLog)
    }

    /// Hands on what has been said.
    pub fn hand_on(&mut self) {
        self.0.flush();
    }
}

impl fmt::Debug for ProgramLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramLog").finish_non_exhaustive()
    }
}

/// Makes a line of each record.
struct Lines(Say);

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        (self.0)(format!("kernel: {}", record.args()).trim_end());
    }

    fn flush(&self) {}
}
