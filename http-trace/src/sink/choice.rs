//! What the user chose about outputs: format, place, header fields, colour. Opens nothing.

use std::path::PathBuf;
use std::str::FromStr;

use super::format::Format;

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// How.
    pub format: Format,
    /// Where to; `None` is standard output.
    pub file: Option<PathBuf>,
}

impl FromStr for OutputSpec {
    type Err = String;

    /// The error is what was wanted.
    fn from_str(text: &str) -> Result<Self, String> {
        let want = || format!("{}, with :FILE to write to a file", Format::names());
        let (format, file) = match text.split_once(':') {
            Some((format, file)) => (format, Some(file)),
            None => (text, None),
        };
        let format = Format::named(format).ok_or_else(want)?;
        // The notation of filters of one output; refused rather than taken for a file's name.
        let has_filter =
            |file: &str| matches!(file.rsplit_once(','), Some((_, last)) if last.contains('='));
        let file = match file {
            Some("") => return Err(want()),
            Some(file) if has_filter(file) => {
                return Err("a file's name; outputs have no filters of their own".to_owned());
            }
            Some("-") | None => None,
            Some(file) => Some(PathBuf::from(file)),
        };
        Ok(OutputSpec { format, file })
    }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
