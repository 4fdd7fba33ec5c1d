//! Checks the text of every file: its length, paths of one machine, and marks of unfinished work.

use std::path::Path;

use super::finding::Finding;

/// Line limit of a source file.
pub const MOST_LINES: usize = 600;

/// Words, split so that this file does not contain them, and what to do about each.
const WORDS: [([&str; 2], &str); 7] = [
    (["/wo", "rk/"], MACHINE),
    (["/ro", "ot/."], MACHINE),
    (["/tm", "p/w/"], MACHINE),
    (["/Us", "ers/"], MACHINE),
    (["TO", "DO"], UNFINISHED),
    (["FIX", "ME"], UNFINISHED),
    (["<<<<", "<<<"], "this is a merge conflict: resolve it"),
];
const MACHINE: &str = "this is a path of one machine: write one that any clone has";
const UNFINISHED: &str = "finish it, or open an issue and say here what holds today";

/// Extensions of the files that are checked.
const TEXTS: [&str; 9] = ["rs", "md", "toml", "py", "sh", "js", "yml", "yaml", "json"];

/// Whether a file's text is checked.
pub fn is_text(path: &Path) -> bool {
    let is_kind = |kind: &std::ffi::OsStr| TEXTS.iter().any(|known| kind == *known);
    path.extension().is_some_and(is_kind) || path.ends_with(".ci/run")
}

/// Findings for words that do not belong in a commit.
pub fn words(path: &Path, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (pieces, mend) in WORDS {
            let word = pieces.concat();
            if line.contains(&word) {
                found.push(Finding::at(path, number + 1, format!("`{word}`: {mend}")));
            }
        }
    }
    found
}
