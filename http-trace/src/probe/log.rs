//! Log lines of the programs, from the buffer of aya-log. Losses are reported by [`super::counters`] instead.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};

/// Receives a line.
pub type Say = fn(&str);

/// Reads the log buffer of a loaded object. The programs use the map too, so this must live as long as they
/// are loaded.
pub struct ProgramLog(EbpfLogger<Lines>);

impl ProgramLog {
    /// Takes the buffer from an object loaded with [`super::loader::Settings::log`].
    pub fn new(ebpf: &mut Ebpf, say: Say) -> Result<Self, aya_log::Error> {
        EbpfLogger::init_with_logger(ebpf, Lines(say)).map(ProgramLog)
    }

    /// Passes on pending lines.
    pub fn hand_on(&mut self) {
        self.0.flush();
    }
}

/// Formats each log record as a line.
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
