//! YAML documents of a rule file, and positions in them. Positions are found by searching the text, because
//! the parser keeps none for valid input. Knows nothing of Sigma.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::diagnose::{Diagnostic, Fault, Finding};
use crate::rule::Origin;

/// Maximum nesting of brackets in a document. The parser's own limit is 128, but it applies it only after
/// reading all of them; unquoted texts may contain brackets that do not nest.
const MAX_DEPTH: usize = 1000;

/// Matches positions in messages of the YAML parser.
static AT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(" at line ([0-9]{1,9}) column ([0-9]{1,9})").expect("an expression")
});

/// The text of a rule file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name.
    pub origin: Origin,
    /// YAML.
    pub text: String,
}

impl Source {
    /// Whether it has nothing but comments.
    pub fn is_empty(&self) -> bool {
        Document::split(self).is_empty()
    }
}

/// Line and column, from 1.
pub(super) type Position = (usize, usize);

#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    pub origin: &'a Origin,
    pub text: &'a str,
    /// Number of lines before it in the file.
    pub lines_before: usize,
}

impl<'a> Document<'a> {
    pub fn whole(source: &'a Source) -> Self {
        Document { origin: &source.origin, text: &source.text, lines_before: 0 }
    }

    /// The documents of a file, separated by lines of `---`; empty ones are omitted.
    pub fn split(source: &'a Source) -> Vec<Self> {
        let whole = Document::whole(source);
        let (mut documents, mut start, mut at) = (vec![whole], 0, 0);
        for (number, line) in source.text.split_inclusive('\n').enumerate() {
            let marker = line.trim_end();
            if marker == "---" || marker.starts_with("--- ") {
                if let Some(last) = documents.last_mut() {
                    last.text = &source.text[start..at];
                }
                start = at + line.len();
                documents.push(Document {
                    text: &source.text[start..],
                    lines_before: number + 1,
                    ..whole
                });
            }
            at += line.len();
        }
        let is_content = |line: &str| !(line.is_empty() || line.starts_with('#'));
        documents.retain(|document| document.text.lines().map(str::trim).any(is_content));
        documents
    }

    pub fn diagnostic(self, fault: Fault, (line, column): Position, message: String) -> Diagnostic {
        Diagnostic { fault, origin: self.origin.clone(), line, column, message }
    }

    pub fn locate(self, finding: Finding) -> Diagnostic {
        let value = finding.value.as_deref();
        let position = value.and_then(|value| self.value_of(&finding.at, value));
        let position = position.unwrap_or_else(|| self.find(&finding.at));
        self.diagnostic(finding.fault, position, finding.message)
    }

    /// The lines, numbered as in the file.
    fn lines(self) -> impl Iterator<Item = (usize, &'a str)> {
        (self.lines_before + 1..).zip(self.text.lines())
    }

    /// Position of a key (possibly with modifiers), otherwise of a value, otherwise of any occurrence,
    /// otherwise of the first non-blank line.
    pub fn find(self, what: &str) -> Position {
        let after = |line: &'a str| {
            let rest = line.trim_start_matches([' ', '-', '"', '\'']);
            (rest.strip_prefix(what), line.len() - rest.len() + 1)
        };
        let find = |ends: fn(&str) -> bool| {
            self.lines().find_map(|(number, line)| {
                let (rest, column) = after(line);
                rest.is_some_and(ends).then_some((number, column))
            })
        };
        let within = |(number, line): (usize, &str)| Some((number, line.find(what)? + 1));
        find(|rest| rest.starts_with([':', '|']))
            .or_else(|| find(|rest| rest.trim_matches(['"', '\'', ' ', '\r']).is_empty()))
            .or_else(|| self.lines().filter(|_| !what.is_empty()).find_map(within))
            .unwrap_or_else(|| {
                let mut lines = self.lines().filter(|(_, line)| !line.trim().is_empty());
                (lines.next().map_or(self.lines_before + 1, |line| line.0), 1)
            })
    }

    /// Position of a value, plain or in single quotes, at or after the line of its key.
    fn value_of(self, key: &str, value: &str) -> Option<Position> {
        if value.is_empty() {
            return None;
        }
        let quoted = value.replace('\'', "''");
        let is_of_word = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
        let first = self.find(key).0;
        let lines = self.lines().skip_while(|(number, _)| *number < first);
        let mut lines = lines.filter(|(_, line)| !line.trim_start().starts_with('#'));
        lines.find_map(|(number, line)| {
            let whole = |written: &str| {
                let mut all = line.match_indices(written).map(|(at, _)| at);
                all.find(|at| {
                    !line[..*at].ends_with(is_of_word)
                        && !line[at + written.len()..].starts_with(is_of_word)
                })
            };
            let at = whole(value).or_else(|| whole(&quoted))?;
            Some((number, at + 1))
        })
    }

    /// Position of the n-th `key` within a top-level block.
    pub fn nth_within(self, block: &str, key: &str, n: usize) -> Option<Position> {
        let has_key = |line: &str, key: &str| {
            line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
        };
        let lines = self.lines().skip_while(|(_, line)| !has_key(line, block));
        lines
            .skip(1)
            .take_while(|(_, line)| line.is_empty() || line.starts_with([' ', '-', '#']))
            .map(|(number, line)| (number, entry(line)))
            .filter(|(_, (rest, _))| has_key(rest, key))
            .nth(n)
            .map(|(number, (_, column))| (number, column))
    }

    /// Position of the second occurrence of a key in the mapping that has its first key at `first`.
    pub fn again(self, key: &str, first: Position) -> Option<Position> {
        let quotes = ['"', '\''];
        let is_key = |rest: &str| {
            let rest = rest.trim_start_matches(quotes).strip_prefix(key);
            let rest = rest.map(|rest| rest.trim_start_matches(quotes).trim_start());
            rest.is_some_and(|rest| rest.starts_with(':'))
        };
        let lines = self.lines().skip_while(|(number, _)| *number < first.0);
        lines
            .map(|(number, line)| (number, entry(line)))
            .take_while(|(_, (rest, column))| {
                rest.is_empty() || rest.starts_with('#') || *column >= first.1
            })
            .filter(|(_, (rest, column))| *column == first.1 && is_key(rest))
            .nth(1)
            .map(|(number, (_, column))| (number, column))
    }

    /// Position at which brackets are nested too deep: the parser's time grows with the square of the depth.
    pub fn too_deep(self) -> Option<Position> {
        let mut depth = 0_usize;
        for (number, line) in self.lines() {
            let mut quote = None;
            for (column, byte) in (1..).zip(line.bytes()) {
                match (quote, byte) {
                    (Some(open), byte) if byte == open => quote = None,
                    (Some(_), _) => {}
                    (None, b'\'' | b'"') => quote = Some(byte),
                    (None, b'[' | b'{') => depth += 1,
                    (None, b']' | b'}') => depth = depth.saturating_sub(1),
                    (None, _) => {}
                }
                if depth > MAX_DEPTH {
                    return Some((number, column));
                }
            }
        }
        None
    }

    /// The last position in a message of the YAML parser.
    pub fn at_message(self, message: &str) -> Option<Position> {
        let at = AT.captures_iter(message).last()?;
        let number = |group: usize| at[group].parse::<usize>().ok();
        Some((self.lines_before.saturating_add(number(1)?), number(2)?))
    }

    /// The message with the file's line numbers, without the last position, which
    /// [`Document::at_message`] returns.
    pub fn in_file(self, message: &str) -> String {
        let mut left = AT.find_iter(message).count();
        let in_file = |at: &Captures<'_>| {
            left -= 1;
            let line = at[1].parse().unwrap_or(0_usize) + self.lines_before;
            match left {
                0 => String::new(),
                _ => format!(" at line {line} column {}", &at[2]),
            }
        };
        AT.replace_all(message, in_file).into_owned()
    }
}

/// A line without indentation and list markers, and the column at which it begins.
fn entry(line: &str) -> (&str, usize) {
    let rest = line.trim_start_matches([' ', '-']);
    (rest, line.len() - rest.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let source = Source {
            origin: Origin::File("r.yml".into()),
            text: "# head\n---\ntitle: a\ndetection:\n  sel:\n    - cs-uri|contains: x\n---\n\ntitle: b\nrules:\n  - 'other'\n".to_owned(),
        };
        let documents = Document::split(&source);
        assert_eq!(documents.len(), 2);
        for (document, what, expected) in [
            (0, "title", (3, 1)),
            (0, "cs-uri", (6, 7)),
            (0, "contains", (6, 14)),
            (1, "other", (11, 6)),
            (1, "nowhere", (9, 1)),
        ] {
            assert_eq!(documents[document].find(what), expected, "{what}");
        }
        let message = "did not find expected key at line 3 column 5";
        assert_eq!(documents[1].at_message(message), Some((10, 5)));
        assert_eq!(documents[1].in_file(message), "did not find expected key");
        for (message, expected) in [
            (
                "no ']' at line 3 column 2, while parsing a sequence at line 2 column 17 (a tab?)",
                "no ']' at line 10 column 2, while parsing a sequence (a tab?)",
            ),
            ("x at line ", "x at line "),
            ("x at line 3", "x at line 3"),
            ("x at line 3 column y at line 4 column 1", "x at line 3 column y"),
            ("x at line 99999999999999999999 column 1", "x at line 99999999999999999999 column 1"),
        ] {
            assert_eq!(documents[1].in_file(message), expected);
        }
    }
}
