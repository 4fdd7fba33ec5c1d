//! Known violations (`exceptions.toml`). The list may only shrink: an entry that is no longer needed is an
//! error, and so is a listed file that has grown.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use toml::{Table, Value};

/// A file that is too long.
#[derive(Debug)]
pub struct Long {
    pub file: String,
    pub lines: usize,
}

/// A cycle of more files than are allowed.
#[derive(Debug)]
pub struct Cycle {
    pub files: BTreeSet<String>,
}

/// A top-level module that imports from one below it.
#[derive(Debug)]
pub struct BackEdge {
    pub krate: String,
    pub from: String,
    pub to: String,
}

/// A dependency that no source names.
#[derive(Debug)]
pub struct Unused {
    pub krate: String,
    pub dependency: String,
}

/// All exceptions.
#[derive(Debug, Default)]
pub struct Exceptions {
    pub long: Vec<Long>,
    pub cycles: Vec<Cycle>,
    pub back_edges: Vec<BackEdge>,
    /// Crates whose modules have no order yet.
    pub unordered: Vec<String>,
    pub unused: Vec<Unused>,
}

impl Exceptions {
    /// Reads the list; every entry must give its reason.
    pub fn parse(text: &str) -> Result<Exceptions> {
        let table: Table = text.parse().context("exceptions.toml")?;
        let mut all = Exceptions::default();
        for (kind, entries) in &table {
            let entries = entries
                .as_array()
                .context("exceptions.toml: lists of tables only")?;
            for entry in entries {
                all.add(kind, entry)
                    .with_context(|| format!("exceptions.toml: [[{kind}]]"))?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, kind: &str, entry: &Value) -> Result<()> {
        let text = |key: &str| {
            let value = entry.get(key).and_then(Value::as_str);
            value
                .map(str::to_owned)
                .with_context(|| format!("`{key}` is missing"))
        };
        text("reason")?;
        match kind {
            "long" => {
                let lines = entry.get("lines").and_then(Value::as_integer);
                let lines = lines.and_then(|lines| usize::try_from(lines).ok());
                self.long.push(Long {
                    file: text("file")?,
                    lines: lines.context("`lines` is missing")?,
                });
            }
            "cycle" => {
                let files = entry.get("files").and_then(Value::as_array);
                let files = files.context("`files` is missing")?.iter();
                let files = files.filter_map(Value::as_str).map(str::to_owned).collect();
                self.cycles.push(Cycle { files });
            }
            "back_edge" => self.back_edges.push(BackEdge {
                krate: text("crate")?,
                from: text("from")?,
                to: text("to")?,
            }),
            "unused" => self.unused.push(Unused {
                krate: text("crate")?,
                dependency: text("dependency")?,
            }),
            "unordered" => self.unordered.push(text("crate")?),
            other => anyhow::bail!("there is no kind {other}"),
        }
        Ok(())
    }
}
