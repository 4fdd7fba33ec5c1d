//! `cargo xtask tidy --lines`: how much code there is without its tests, by crate and top-level module.
//!
//! A crate's `.rs` files below `src`, less `tests` folders, `tests.rs`, files that only tests compile and
//! inline `#[cfg(test)] mod` blocks. Blank lines and comments count.

use std::collections::BTreeMap;

use super::modules::Crate;

/// Lines by top-level module; the root's own are under `""`.
pub type Lines = BTreeMap<String, usize>;

/// Adds a crate's lines.
pub fn count(of: &Crate, lines: &mut Lines) {
    for (id, file) in of.files.iter().enumerate() {
        let is_test = file.is_test
            || file.path.ends_with("tests.rs")
            || file
                .path
                .components()
                .any(|part| part.as_os_str() == "tests");
        if !is_test {
            *lines
                .entry(of.top(id).unwrap_or("").to_owned())
                .or_default() += file.lines - file.test_lines;
        }
    }
}
