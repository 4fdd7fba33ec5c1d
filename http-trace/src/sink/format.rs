//! The formats of outputs. A format is one file with a [`Render`] and one line in [`Format::ALL`].
//! Decides nothing about where bytes go.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::choice::Style;
use super::csv::Csv;
use super::json::Json;
use super::pretty::Pretty;
use super::render::Render;
use super::tracee::Tracee;

/// A format.
#[derive(Clone, Copy)]
pub struct Format {
    /// As `--output` names it.
    pub name: &'static str,
    /// Whether it has no place for alerts and losses, which are then counted in the summary.
    pub is_events_only: bool,
    /// Makes its writer.
    pub render: fn(&Style) -> Box<dyn Render>,
}

impl Format {
    /// The default.
    pub const JSON: Format = Format::new("json", false, |style| Box::new(Json::new(style)));
    /// The default on a terminal.
    pub const PRETTY: Format = Format::new("pretty", false, |style| Box::new(Pretty::new(style)));

    /// All there are.
    pub const ALL: &[Format] = &[
        Format::JSON,
        Format::PRETTY,
        Format::new("tracee", true, |style| Box::new(Tracee::new(style))),
        Format::new("csv", true, |_| Box::new(Csv::default())),
    ];

    const fn new(
        name: &'static str,
        is_events_only: bool,
        render: fn(&Style) -> Box<dyn Render>,
    ) -> Self {
        Format {
            name,
            is_events_only,
            render,
        }
    }

    /// The format of a name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL
            .iter()
            .copied()
            .find(|format| format.name == name)
    }

    /// `json, pretty, tracee or csv`
    pub fn names() -> String {
        let names: Vec<&str> = Format::ALL.iter().map(|format| format.name).collect();
        match names.split_last() {
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        }
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

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
