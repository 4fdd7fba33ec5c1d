//! What is wrong with a rule file, and where: `file:line:column: error: reason`. Positions are
//! found again in the text, since the parser keeps none for what it accepts.

use std::fmt;

use crate::rule::Origin;

/// How wrong it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The rule is loaded; it may not do what its author means.
    Warning,
    /// The rule is not loaded.
    Error,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How wrong.
    pub fault: Fault,
    /// In which file.
    pub origin: Origin,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What, and what would be right.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Warning => "warning",
            Fault::Error => "error",
        };
        let Diagnostic {
            origin,
            line,
            column,
            message,
            ..
        } = self;
        write!(f, "{origin}:{line}:{column}: {fault}: {message}")
    }
}

/// Brackets within brackets in one document. The parser refuses more than 128 itself, if only after
/// it has gone through all of them; texts without quotes may have some that do not nest.
const DEEP: usize = 1000;

/// A document of a file, with the line it begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document<'a> {
    /// Its text.
    pub text: &'a str,
    /// Lines before it in the file.
    pub lines_before: usize,
}

impl<'a> Document<'a> {
    /// The documents of a YAML file: between lines of `---`.
    pub fn split(file: &'a str) -> Vec<Document<'a>> {
        let mut documents = Vec::new();
        let (mut start, mut first_line, mut at) = (0, 0, 0);
        for (number, line) in file.split_inclusive('\n').enumerate() {
            let marker = line.trim_end();
            if marker == "---" || marker.starts_with("--- ") {
                documents.push(Document {
                    text: &file[start..at],
                    lines_before: first_line,
                });
                (start, first_line) = (at + line.len(), number + 1);
            }
            at += line.len();
        }
        documents.push(Document {
            text: &file[start..],
            lines_before: first_line,
        });
        let blank = |text: &str| {
            text.lines()
                .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
        };
        documents.retain(|document| !blank(document.text));
        documents
    }

    /// Where something that the document says is: a key (possibly with modifiers), else a value,
    /// else any occurrence; the first line that is not blank when it is nowhere.
    pub fn find(&self, what: &str) -> (usize, usize) {
        type Rule = fn(&str, &str) -> bool;
        let key: Rule = |rest, what| {
            rest.strip_prefix(what)
                .is_some_and(|r| r.starts_with([':', '|']))
        };
        let value: Rule = |rest, what| {
            let rest = rest.trim_start_matches(['"', '\'']);
            rest.strip_prefix(what)
                .is_some_and(|r| r.trim_matches(['"', '\'', ' ', '\r']).is_empty())
        };
        for rule in [key, value] {
            for (number, line) in self.text.lines().enumerate() {
                let rest = line.trim_start_matches([' ', '-', '"', '\'']);
                if rule(rest, what) {
                    return (self.lines_before + number + 1, line.len() - rest.len() + 1);
                }
            }
        }
        for (number, line) in self.text.lines().enumerate() {
            if let Some(at) = line.find(what).filter(|_| !what.is_empty()) {
                return (self.lines_before + number + 1, at + 1);
            }
        }
        let first = self.text.lines().position(|line| !line.trim().is_empty());
        (self.lines_before + first.unwrap_or(0) + 1, 1)
    }

    /// Where the key of a number is among those of its name below another key that is not indented.
    pub fn nth_within(&self, block: &str, key: &str, number: usize) -> Option<(usize, usize)> {
        let is_block = |line: &str| {
            line.strip_prefix(block)
                .is_some_and(|rest| rest.starts_with(':'))
        };
        let lines = self.text.lines().enumerate();
        let mut lines = lines.skip_while(|(_, line)| !is_block(line));
        lines.next();
        lines
            .take_while(|(_, line)| line.is_empty() || line.starts_with([' ', '-', '#']))
            .filter_map(|(at, line)| {
                let rest = line.trim_start_matches([' ', '-']);
                let column = line.len() - rest.len() + 1;
                rest.strip_prefix(key)?
                    .starts_with(':')
                    .then_some((self.lines_before + at + 1, column))
            })
            .nth(number)
    }

    /// Where a key stands for the second time in a mapping whose first key is at a place.
    pub fn again(&self, key: &str, first: (usize, usize)) -> Option<(usize, usize)> {
        let (line, column) = (first.0.checked_sub(self.lines_before + 1)?, first.1);
        let of_mapping = |line: &'a str| {
            let rest = line.trim_start_matches([' ', '-']);
            (rest, line.len() - rest.len() + 1)
        };
        let is_key = |rest: &str| {
            let rest = rest.trim_start_matches(['"', '\'']);
            rest.strip_prefix(key).is_some_and(|rest| {
                rest.trim_start_matches(['"', '\''])
                    .trim_start()
                    .starts_with(':')
            })
        };
        let inside = self.text.lines().enumerate().skip(line);
        let inside = inside.take_while(|(_, line)| {
            let (rest, here) = of_mapping(line);
            rest.is_empty() || rest.starts_with('#') || here >= column
        });
        let mut found = inside.filter(|(_, line)| {
            let (rest, here) = of_mapping(line);
            here == column && is_key(rest)
        });
        let (at, _) = found.nth(1)?;
        Some((self.lines_before + at + 1, column))
    }

    /// Where a text is that is a value, as it is written, or in single quotes.
    pub fn find_value(&self, what: &str) -> Option<(usize, usize)> {
        let quoted = what.replace('\'', "''");
        self.text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with('#'))
            .find_map(|(number, line)| {
                let at = line.find(what).or_else(|| line.find(&quoted))?;
                Some((self.lines_before + number + 1, at + 1))
            })
            .filter(|_| !what.is_empty())
    }

    /// Where a word stands in the line of a key or behind it.
    pub fn word_of(&self, key: &str, word: &str) -> Option<(usize, usize)> {
        let first = self.find(key).0.checked_sub(self.lines_before + 1)?;
        let is_of_word = |c: char| c.is_alphanumeric() || c == '.' || c == '-';
        let ends = |line: &str, at: usize| {
            !line[..at].ends_with(is_of_word) && !line[at + word.len()..].starts_with(is_of_word)
        };
        let lines = self.text.lines().enumerate().skip(first);
        lines
            .filter(|_| !word.is_empty())
            .find_map(|(number, line)| {
                let mut all = line.match_indices(word).map(|(at, _)| at);
                let at = all.find(|at| ends(line, *at))?;
                Some((self.lines_before + number + 1, at + 1))
            })
    }

    /// Where brackets are nested so deep that reading them would take long: the parser's time grows
    /// with the square of the depth.
    pub fn too_deep(&self) -> Option<(usize, usize)> {
        let mut depth = 0_usize;
        for (number, line) in self.text.lines().enumerate() {
            let mut quote = None;
            for (column, byte) in line.bytes().enumerate() {
                match (quote, byte) {
                    (Some(open), byte) if byte == open => quote = None,
                    (Some(_), _) => {}
                    (None, b'\'' | b'"') => quote = Some(byte),
                    (None, b'[' | b'{') => depth += 1,
                    (None, b']' | b'}') => depth = depth.saturating_sub(1),
                    (None, _) => {}
                }
                if depth > DEEP {
                    return Some((self.lines_before + number + 1, column + 1));
                }
            }
        }
        None
    }

    /// Where the YAML parser says that it failed, from its message.
    pub fn at_message(&self, message: &str) -> (usize, usize) {
        let number = |after: &str| {
            let (_, rest) = message.rsplit_once(after)?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<usize>().ok()
        };
        match (number("line "), number("column ")) {
            (Some(line), Some(column)) => (self.lines_before + line, column),
            _ => self.find(""),
        }
    }

    /// The message with lines of the file for those of the document, which is what the parser was
    /// given, and without the place that [`Document::at_message`] finds: it stands before it.
    pub fn in_file(&self, message: &str) -> String {
        const AT: &str = " at line ";
        let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (mut out, mut rest) = (String::with_capacity(message.len()), message);
        while let Some((before, after)) = rest.split_once(AT) {
            out.push_str(before);
            rest = after;
            let (line, column) = after.split_at(number(after));
            let column = column.strip_prefix(" column ").unwrap_or_default();
            let (column, behind) = column.split_at(number(column));
            match line.parse::<usize>() {
                Ok(line) if !column.is_empty() => {
                    if behind.contains(AT) {
                        let line = self.lines_before.saturating_add(line);
                        out.push_str(&format!("{AT}{line} column {column}"));
                    }
                    rest = behind;
                }
                _ => out.push_str(AT),
            }
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let file = "# head\n---\ntitle: a\ndetection:\n  sel:\n    - cs-uri|contains: x\n---\n\ntitle: b\nrules:\n  - 'other'\n";
        let documents = Document::split(file);
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
        assert_eq!(documents[1].at_message(message), (10, 5));
        assert_eq!(documents[1].in_file(message), "did not find expected key");
        for (message, expected) in [
            (
                "no ']' at line 3 column 2, while parsing a sequence at line 2 column 17 (a tab?)",
                "no ']' at line 10 column 2, while parsing a sequence (a tab?)",
            ),
            ("x at line ", "x at line "),
            ("x at line 3", "x at line 3"),
            (
                "x at line 3 column y at line 4 column 1",
                "x at line 3 column y",
            ),
            (
                "x at line 99999999999999999999 column 1",
                "x at line 99999999999999999999 column 1",
            ),
        ] {
            assert_eq!(documents[1].in_file(message), expected);
        }
    }
}
