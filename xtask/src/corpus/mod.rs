//! `cargo xtask corpus`: replays a folder of captures and compares the events with the expected ones.
//!
//! The folder has `pcap/`, `expected/<capture>.jsonl` and `MANIFEST.tsv`. No capture is treated specially by
//! name. [`score`] defines what counts as equal.

mod score;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::command::{self, cargo, workspace};
use score::Score;

#[derive(Debug, Args)]
pub struct Options {
    /// The folder; default: $HTTP_TRACE_CORPUS, or ../shared/corpus beside the workspace.
    dir: Option<PathBuf>,
    /// Only captures whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Put the kernel's filter in front of the judge.
    #[arg(long)]
    filter: bool,
    /// Print each difference of the captures shown.
    #[arg(long)]
    show: bool,
    /// Print every capture, not only those that differ.
    #[arg(long)]
    all: bool,
    /// Keep each capture's events in this folder, one <capture>.jsonl each.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// Replays, compares and prints. Differences are no failure while the sums reach the goals of
/// [`Score::misses`].
///
/// # Errors
/// When the reader cannot be built, the corpus cannot be read, or a sum misses its goal.
pub fn corpus(options: &Options) -> Result<()> {
    let dir = options
        .dir
        .clone()
        .or_else(|| std::env::var_os("HTTP_TRACE_CORPUS").map(PathBuf::from))
        .unwrap_or_else(|| workspace().join("../shared/corpus"));
    let manifest = dir.join("MANIFEST.tsv");
    if !manifest.is_file() {
        eprintln!("xtask: no corpus at {}: nothing to replay", dir.display());
        return Ok(());
    }
    command::run(&mut cargo(&[
        "build", "--release", "--package", "http-trace", "--no-default-features", "--target-dir",
        "target/reader",
    ]))?;
    let reader = workspace().join("target/reader/release/http-trace");
    let mut tags: BTreeMap<String, Score> = BTreeMap::new();
    let (mut total, mut captures, mut clean) = (Score::default(), 0, 0);
    for row in rows(&manifest)? {
        if options.only.as_ref().is_some_and(|only| !row.name.contains(only.as_str())) {
            continue;
        }
        let expected = parse_lines(&fs::read_to_string(
            dir.join("expected").join(format!("{}.jsonl", row.name)),
        )?);
        let got = replay(&reader, &dir.join("pcap").join(&row.file), options.filter)?;
        if let Some(keep) = &options.keep {
            fs::create_dir_all(keep)?;
            fs::write(keep.join(format!("{}.jsonl", row.name)), &got)?;
        }
        let result = score::score(&expected, &parse_lines(&got));
        captures += 1;
        clean += usize::from(result.differences.is_empty());
        if options.all || !result.differences.is_empty() {
            println!("{}: {}", row.name, result.score);
        }
        if options.show {
            result.differences.iter().for_each(|d| println!("    {d}"));
        }
        for tag in row.features.split(',').chain([row.link.as_str()]) {
            let tag = tag.split(':').next().unwrap_or(tag);
            tags.entry(tag.to_owned()).or_default().add(&result.score);
        }
        total.add(&result.score);
    }
    println!("\nby feature");
    for (tag, score) in tags.iter().filter(|(tag, _)| tag.as_str() != "-") {
        println!("{tag:>20}: {score}");
    }
    println!("\nTOTAL {captures} captures, {clean} without any difference: {total}");
    let misses = total.misses();
    if !misses.is_empty() {
        bail!("below the goal: {}", misses.join(", "));
    }
    Ok(())
}

struct Row {
    name: String,
    file: String,
    link: String,
    features: String,
}

/// Rows of the manifest; its first line names the columns.
fn rows(manifest: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let column = |name: &str| {
        columns
            .iter()
            .position(|c| *c == name)
            .with_context(|| format!("{}: no column {name}", manifest.display()))
    };
    let [name, file, link, features] =
        [column("name")?, column("file")?, column("link")?, column("features")?];
    Ok(lines
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|cells| {
            let cell = |i: usize| cells.get(i).copied().unwrap_or_default().to_owned();
            Row { name: cell(name), file: cell(file), link: cell(link), features: cell(features) }
        })
        .collect())
}

fn replay(reader: &Path, capture: &Path, filter: bool) -> Result<String> {
    let mut command = Command::new(reader);
    command.arg("-r").arg(capture).args(["-o", "json", "--show-secrets", "-q"]);
    if filter {
        command.arg("--kernel-filter");
    }
    let output = command.output().with_context(|| reader.display().to_string())?;
    // 1: the capture is cut. 2 would be our own fault, and no code a crash.
    if !matches!(output.status.code(), Some(0 | 1)) {
        bail!(
            "{}: the reader ended with {}: {}",
            capture.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{}: output is not UTF-8", capture.display()))
}

fn parse_lines(text: &str) -> Vec<Value> {
    text.lines()
        .filter(|line| line.trim_start().starts_with('{'))
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|_| serde_json::json!({ "unreadable": line }))
        })
        .collect()
}
