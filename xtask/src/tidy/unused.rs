//! Finds dependencies that no source of a package uses.
//!
//! It searches text, so a dependency in a comment counts as used.

use std::path::Path;

use super::finding::Finding;

/// The parts of a package that this check needs.
#[derive(Debug, Default)]
pub struct Package {
    pub name: String,
    /// Names used in the package's code.
    pub dependencies: Vec<String>,
}

/// A finding for each dependency that occurs in none of `sources`.
pub fn unused(package: &Package, manifest: &Path, sources: &[String]) -> Vec<Finding> {
    let is_named = |dependency: &String| {
        let code = dependency.replace('-', "_");
        sources.iter().any(|text| {
            text.match_indices(&code).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                let after = &text[at + code.len()..];
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
                    && (after.starts_with("::")
                        || after.starts_with(';')
                        || after.starts_with(" as "))
            })
        })
    };
    let all = package.dependencies.iter().filter(|name| !is_named(name));
    let told = |name: &String| {
        let text = format!("no source of `{}` names `{name}`: remove the dependency", package.name);
        Finding::at(manifest, 1, text)
    };
    all.map(told).collect()
}
