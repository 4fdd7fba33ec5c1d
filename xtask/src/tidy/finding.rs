//! A finding of tidy: where, what, and what to do about it.

use std::{fmt, path::Path};

/// A violation, and what to do about it.
#[derive(Debug)]
pub struct Finding {
    place: String,
    text: String,
}

impl Finding {
    pub fn at(path: &Path, line: usize, text: impl Into<String>) -> Finding {
        let place = format!("{}:{line}", path.display());
        Finding { place, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}
