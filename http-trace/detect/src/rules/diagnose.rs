//! Diagnostics of rule files: `file:line:column: error: reason`. Knows nothing of Sigma;
//! positions come from [`super::document`].

use std::fmt;

use crate::rule::Origin;

/// Severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The rule is loaded, but may not do what its author intended.
    Warning,
    /// The rule is not loaded.
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub fault: Fault,
    pub origin: Origin,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Warning => "warning",
            Fault::Error => "error",
        };
        let (origin, line, column, message) = (&self.origin, self.line, self.column, &self.message);
        write!(f, "{origin}:{line}:{column}: {fault}: {message}")
    }
}

/// A fault found in a rule, before its position is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub fault: Fault,
    /// The key, or other text of the rule, that it concerns.
    pub at: String,
    /// The value under that key, if it concerns one; gives a more exact position.
    pub value: Option<String>,
    pub message: String,
}

impl Finding {
    pub fn error(at: &str, message: impl Into<String>) -> Self {
        Finding { fault: Fault::Error, at: at.to_owned(), value: None, message: message.into() }
    }

    pub fn warning(at: &str, message: impl Into<String>) -> Self {
        let fault = Fault::Warning;
        Finding { fault, ..Finding::error(at, message) }
    }

    pub fn of_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }
}

/// `; did you mean 'x'?`, or empty if no name is near.
pub fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

/// The known word nearest to a wrong one, if one is within so many edits, and within one for every four letters.
pub fn nearest<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str>,
    edits: usize,
) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .min()
        .filter(|(distance, _)| *distance <= edits.min(word.len().div_ceil(4)))
        .map(|(_, known)| known)
}
