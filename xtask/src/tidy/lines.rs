//! `cargo xtask tidy --lines`: counts lines of code without tests, by crate and top-level module.
//!
//! Counts a crate's `.rs` files below `src`, except `tests` folders, `tests.rs`, test-only files and inline
//! `#[cfg(test)] mod` blocks. Blank lines and comments count.

use std::collections::BTreeMap;

use super::modules::Crate;

/// Lines by top-level module; those of the root are under `""`.
pub type Lines = BTreeMap<String, usize>;

/// Adds a crate's lines.
pub fn count(of: &Crate, lines: &mut Lines) {
    for (id, file) in of.files.iter().enumerate() {
        let is_test = file.is_test
            || file.path.ends_with("tests.rs")
            || file.path.components().any(|part| part.as_os_str() == "tests");
        if !is_test {
            *lines.entry(of.top(id).unwrap_or("").to_owned()).or_default() +=
                file.lines - file.test_lines;
        }
    }
}
