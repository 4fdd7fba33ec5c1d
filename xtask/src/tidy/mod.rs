//! `cargo xtask tidy`: checks of the sources that the compiler does not make. `cargo test -p xtask` runs it
//! too.
//!
//! - No more than three files of a crate import one another in a loop.
//! - A top-level module imports only from those above it in the `# Layout` list of its crate.
//! - No source file is longer than 600 lines.
//! - Every dependency of a package is used in its sources.
//! - No file has a path of one machine, a merge conflict or a mark of unfinished work.
//!
//! It reads sources and `cargo metadata` and changes nothing. Tests are exempt from the first two rules.

mod check;
mod cycles;
mod finding;
mod imports;
mod layout;
mod lines;
mod modules;
#[cfg(test)]
mod tests;
mod texts;
mod unused;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{cargo, workspace};
use check::check;
use finding::Finding;
use lines::Lines;
use modules::Crate;
use unused::Package;

/// Checks the tree, or only counts its lines.
pub fn tidy(only_lines: bool) -> Result<()> {
    if only_lines {
        return print_lines();
    }
    let found = tree()?;
    for finding in &found {
        eprintln!("{finding}");
    }
    if !found.is_empty() {
        bail!("{} findings: docs/DEVELOPING.md says how to read them", found.len());
    }
    Ok(())
}

/// All findings in the repository.
fn tree() -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    for target in targets()? {
        found.extend(check(&target.load()?));
    }
    files(Path::new(""), &mut |path, text| {
        found.extend(long(path, text));
        found.extend(texts::words(path, text));
    })?;
    found.extend(unused_dependencies()?);
    Ok(found)
}

/// A finding if the file is too long.
fn long(path: &Path, text: &str) -> Option<Finding> {
    let lines = text.lines().count();
    let is_long = lines > texts::MOST_LINES && path.extension().is_some_and(|kind| kind == "rs");
    is_long.then(|| {
        let most = texts::MOST_LINES;
        let text = format!(
            "{lines} lines, {most} are allowed: find the second thing in it and move it out"
        );
        Finding::at(path, lines, text)
    })
}

/// A library or program of the workspace, no test.
struct Target {
    package: String,
    /// The folder of its package, from the repository's root.
    folder: PathBuf,
    root: PathBuf,
}

impl Target {
    fn load(&self) -> Result<Crate> {
        Crate::load(&self.root, &|path| fs::read_to_string(workspace().join(path)).ok())
    }
}

/// Findings for dependencies that no source uses.
fn unused_dependencies() -> Result<Vec<Finding>> {
    let packages = packages()?;
    let folders: Vec<PathBuf> = packages.iter().map(folder).collect();
    let mut found = Vec::new();
    for (package, folder) in packages.iter().zip(&folders) {
        let mut of = Package { name: text(&package["name"]), ..Package::default() };
        for dependency in list(package, "dependencies") {
            let name = dependency.get("rename").filter(|name| name.is_string());
            of.dependencies.push(text(name.unwrap_or(&dependency["name"])));
        }
        let mut sources = Vec::new();
        files(folder, &mut |path, text| {
            // Nested packages have manifests of their own.
            let mut inner =
                folders.iter().filter(|other| *other != folder && other.starts_with(folder));
            let is_own = !inner.any(|other| path.starts_with(other));
            if is_own && path.extension().is_some_and(|kind| kind == "rs") {
                sources.push(text.to_owned());
            }
        })?;
        found.extend(unused::unused(&of, &folder.join("Cargo.toml"), &sources));
    }
    Ok(found)
}

/// The workspace's packages, as cargo describes them.
fn packages() -> Result<Vec<Value>> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata`")?;
    Ok(list(&metadata, "packages"))
}

fn list(of: &Value, key: &str) -> Vec<Value> {
    of[key].as_array().cloned().unwrap_or_default()
}

fn text(of: &Value) -> String {
    of.as_str().unwrap_or_default().to_owned()
}

/// A path relative to the repository's root.
fn relative(path: &Value) -> PathBuf {
    let path = Path::new(path.as_str().unwrap_or_default());
    path.strip_prefix(workspace()).unwrap_or(path).to_owned()
}

fn folder(package: &Value) -> PathBuf {
    let manifest = relative(&package["manifest_path"]);
    manifest.parent().unwrap_or(Path::new("")).to_owned()
}

fn targets() -> Result<Vec<Target>> {
    let mut all = Vec::new();
    for package in packages()? {
        for target in list(&package, "targets") {
            let kinds = list(&target, "kind");
            let folder = folder(&package);
            let is_test = folder.starts_with("tests");
            if !is_test && kinds.iter().any(|kind| kind == "lib" || kind == "bin") {
                all.push(Target {
                    package: text(&package["name"]),
                    folder,
                    root: relative(&target["src_path"]),
                });
            }
        }
    }
    Ok(all)
}

/// Calls `each` with every text file of the repository, in order.
fn files(folder: &Path, each: &mut dyn FnMut(&Path, &str)) -> Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(workspace().join(folder))? {
        let entry = entry?;
        entries.push((folder.join(entry.file_name()), entry.file_type()?));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, kind) in entries {
        let name = path.file_name().unwrap_or_default();
        if kind.is_dir() {
            if name != "target" && name != ".git" {
                files(&path, each)?;
            }
        } else if kind.is_file() && texts::is_text(&path) {
            let text = fs::read_to_string(workspace().join(&path));
            each(&path, &text.with_context(|| path.display().to_string())?);
        }
    }
    Ok(())
}

fn print_lines() -> Result<()> {
    let mut crates: BTreeMap<PathBuf, (String, Lines)> = BTreeMap::new();
    for target in targets()? {
        let (_, lines) = crates
            .entry(target.folder.clone())
            .or_insert_with(|| (target.package.clone(), Lines::new()));
        lines::count(&target.load()?, lines);
    }
    let mut host = 0;
    for (folder, (package, lines)) in &crates {
        let sum: usize = lines.values().sum();
        println!("{sum:>7}  {package}");
        for (module, lines) in lines {
            let name = if module.is_empty() { "(root)" } else { module };
            println!("{lines:>7}    {name}");
        }
        if folder.starts_with("http-trace") {
            host += sum;
        }
    }
    println!("{host:>7}  host: all packages in http-trace/");
    Ok(())
}
