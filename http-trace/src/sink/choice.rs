//! What the user chose about outputs: format, place, header fields, colour. Opens nothing.

use std::path::PathBuf;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One ECS object a line.
    Json,
    /// For a person.
    Pretty,
}

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// How.
    pub format: Format,
    /// Where to; `None` is standard output.
    pub file: Option<PathBuf>,
}

/// Which headers go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChoice {
    /// All of them.
    All,
    /// None of them.
    None,
    /// These, in lower case, sorted.
    Names(Vec<String>),
}

impl HeaderChoice {
    /// Whether a field goes out; names compare without case.
    pub fn admits(&self, name: &[u8]) -> bool {
        match self {
            HeaderChoice::All => true,
            HeaderChoice::None => false,
            HeaderChoice::Names(names) => names
                .iter()
                .any(|n| n.as_bytes().eq_ignore_ascii_case(name)),
        }
    }
}

/// When `pretty` is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
