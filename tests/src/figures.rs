//! Figures of benchmarks: CPU time and memory of processes, medians, and tables in docs/PERFORMANCE.md.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The middle value; NaN without values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time (user and system) of a process, and of its children that have ended, in seconds.
pub fn cpu(pid: u32) -> Result<[f64; 2]> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name may contain spaces and parentheses.
    let (_, rest) = text.rsplit_once(')').context("stat")?;
    let ticks: Vec<f64> =
        rest.split_whitespace().skip(11).take(4).map(|word| word.parse().unwrap_or(0.0)).collect();
    let a_second = rustix::param::clock_ticks_per_second() as f64;
    match ticks[..] {
        [user, system, of_users, of_systems] => {
            Ok([(user + system) / a_second, (of_users + of_systems) / a_second])
        }
        _ => bail!("/proc/{pid}/stat is too short"),
    }
}

/// Peak resident memory of a running process, in KiB; `None` once it has ended.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Replaces what stands between the markers `<!-- NAME: begin -->` and `<!-- NAME: end -->` of
/// docs/PERFORMANCE.md.
pub fn publish(name: &str, table: &str) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PERFORMANCE.md");
    let text = fs::read_to_string(&file)?;
    let begin = format!("<!-- {name}: begin -->\n");
    let end = format!("<!-- {name}: end -->");
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("docs/PERFORMANCE.md has no markers of {name}"))?;
    fs::write(file, format!("{before}{begin}{table}{end}{after}")).context("docs/PERFORMANCE.md")
}
