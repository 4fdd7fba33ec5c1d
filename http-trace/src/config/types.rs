//! Setting types that belong to no stage.

use std::path::PathBuf;

use super::key::runs;

/// Where events come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// This host's interfaces.
    #[default]
    Live,
    /// Capture files, folders of them, or `-` for standard input.
    Captures(Vec<PathBuf>),
    /// Files of recorded events, or `-` for standard input.
    Recorded(Vec<PathBuf>),
}

impl Source {
    /// The kind of run, as a bit of [`runs`].
    pub(super) const fn run(&self) -> u8 {
        match self {
            Source::Live => runs::LIVE,
            Source::Captures(_) => runs::CAPTURES,
            Source::Recorded(_) => runs::RECORDED,
        }
    }
}

http_trace_model::named_enum! {
    /// How the programs of `--hook tc` are attached.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum TcMode {
        /// With TCX where the kernel has it (Linux 6.6).
        #[default]
        Auto = "auto",
        /// To a clsact qdisc, as on kernels before 6.6.
        Clsact = "clsact",
    }
}

http_trace_model::named_enum! {
    /// Who does message framing.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum FramingChoice {
        /// The eBPF programs, where the kernel supports it (Linux 5.17).
        Auto = "auto",
        /// The agent alone, as on kernels before 5.17.
        Host = "host",
    }
}

http_trace_model::named_enum! {
    /// What is redacted in addition to secrets.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum AlsoRedacted {
        Personal = "personal",
    }
}
