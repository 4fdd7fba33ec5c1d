//! Runs scanners and honest loads against a site in namespaces, with the agent on the link, and compares the
//! alerts with `detect/tools.toml`. `cargo xtask detect-eval` installs the tools and runs this as root.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use http_trace_tests::eval::heard::{Alert, Heard};
use http_trace_tests::eval::table::{Attack, Benign, Table};
use http_trace_tests::eval::{Host, Load, fill, run};
use http_trace_tests::need::{self, program};

#[derive(Debug, Parser)]
struct Options {
    /// Run only these (names in the table).
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// Also write the tables as Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Record the beginning of each run, with a browser's user agent, in this folder.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
}

/// A row of a table: its cells, and faults.
struct Row {
    cells: Vec<String>,
    wrong: Vec<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    ensure!(need::root(), "namespaces and tracing need root");
    let table = Table::read()?;
    let names = table.attack.iter().map(|run| &run.name);
    let names: Vec<_> = names.chain(table.benign.iter().map(|run| &run.name)).collect();
    if let Some(unknown) = options.only.iter().find(|only| !names.contains(only)) {
        anyhow::bail!("there is no run {unknown}: there are {names:?}");
    }
    let chosen = |name: &String| options.only.is_empty() || options.only.contains(name);

    let begun = Instant::now();
    let mut attacks = Vec::new();
    for attack in table.attack.iter().filter(|attack| chosen(&attack.name)) {
        attacks.extend(run_attack(attack, &table, options.record.as_deref())?);
    }
    let mut loads = Vec::new();
    for load in table.benign.iter().filter(|load| chosen(&load.name)) {
        loads.extend(run_benign(load, &table, options.record.as_deref())?);
    }

    let mut text = String::new();
    if !attacks.is_empty() {
        let heads = ["tool", "user agent", "sent", "caught by", "after", "also fired", "verdict"];
        text.push_str(&markdown(&heads, &attacks));
    }
    if !loads.is_empty() {
        let heads = ["load", "sent", "raised", "informational", "verdict"];
        text.push_str(&format!("\n{}", markdown(&heads, &loads)));
    }
    let rows = || attacks.iter().chain(&loads);
    let failed = rows().filter(|row| !row.wrong.is_empty()).count();
    println!("\n{text}");
    for row in rows().filter(|row| !row.wrong.is_empty()) {
        println!("{}: {}", row.cells[0], row.wrong.join("; "));
    }
    println!(
        "{} runs in {} s, {failed} not as expected",
        rows().count(),
        begun.elapsed().as_secs()
    );
    if let Some(file) = options.markdown {
        std::fs::write(file, text)?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Runs a tool with its own user agent and with a browser's.
fn run_attack(attack: &Attack, table: &Table, record: Option<&Path>) -> Result<Vec<Row>> {
    let Some(name) = attack.command.first().filter(|name| program(name).is_some()) else {
        return missing(&attack.name, attack.optional, 7);
    };
    let own = [&attack.command[..], &attack.last].concat();
    let browser = if attack.with_agent.is_empty() {
        [&attack.command[..], &attack.agent, &attack.last].concat()
    } else {
        attack.with_agent.clone()
    };
    let can_change = !attack.agent.is_empty() || !attack.with_agent.is_empty();
    let mut rows = Vec::new();
    for (agent, command) in [("own", own), ("browser", browser)] {
        if agent == "browser" && !can_change {
            continue;
        }
        eprintln!("{} ({agent} user agent): {name}", attack.name);
        let file = record.filter(|_| attack.frames > 0 && (agent == "browser" || !can_change));
        let file = file.map(|folder| folder.join(format!("{}.pcap.gz", attack.name)));
        let heard = run(
            Load::Command(&fill(&command, &table.browser)),
            Duration::from_secs(attack.seconds),
            Host::default(),
            file.as_deref().map(|file| (file, attack.frames)),
        )?;
        rows.push(judge_attack(attack, agent, table, &heard));
    }
    Ok(rows)
}

fn judge_attack(attack: &Attack, agent: &str, table: &Table, heard: &Heard) -> Row {
    let mut wrong = Vec::new();
    let named = attack.rules.iter().filter_map(|rule| heard.first(rule));
    let caught = named.min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let within = attack.within_requests.unwrap_or(table.within_requests);
    match caught {
        None if attack.blind.is_some() => {}
        None => wrong.push(format!("none of {:?} fired", attack.rules)),
        Some(alert) => {
            if alert.distinct > within && alert.seconds > table.within_seconds {
                wrong.push(format!("{} fired late", alert.rule));
            }
        }
    }
    for rule in attack.also.iter().filter(|rule| heard.first(rule).is_none()) {
        wrong.push(format!("{rule} did not fire"));
    }
    let says = attack.says && agent == "own";
    let told = heard.first("http-scanner-user-agent").is_some();
    if says != told {
        let what = if says { "did not fire" } else { "fired" };
        wrong.push(format!("http-scanner-user-agent {what}"));
    }
    lost(heard, &mut wrong);
    let others = heard.alerts.iter();
    let others = others.filter(|alert| caught.is_none_or(|caught| caught.rule != alert.rule));
    let verdict = match (caught, &attack.blind) {
        _ if !wrong.is_empty() => wrong.join("; "),
        (None, Some(why)) => format!("not caught: {why}"),
        _ => "as expected".into(),
    };
    let after = |alert: &Alert| {
        format!(
            "{} requests ({} distinct), {:.1} s",
            alert.responses, alert.distinct, alert.seconds
        )
    };
    let row = Row {
        cells: vec![
            attack.name.clone(),
            agent.to_owned(),
            sent(heard),
            caught.map_or("–".into(), |alert| alert.rule.clone()),
            caught.map_or("–".into(), after),
            listed(others),
            verdict,
        ],
        wrong,
    };
    eprintln!("  {}", row.cells[2..].join(" | "));
    row
}

fn run_benign(load: &Benign, table: &Table, record: Option<&Path>) -> Result<Vec<Row>> {
    let named = [load.program.as_ref(), load.command.first(), load.server.first()];
    if named.into_iter().flatten().any(|name| program(name).is_none()) {
        return missing(&load.name, load.optional, 5);
    }
    eprintln!("{} (benign)", load.name);
    let command = fill(&load.command, &table.browser);
    let what = load.scene.as_deref().map_or(Load::Command(&command), Load::Scene);
    let server = fill(&load.server, &table.browser);
    let host = Host {
        options: &load.options,
        server: (!server.is_empty()).then_some((&server[..], load.server_port)),
    };
    let file = record.filter(|_| load.frames > 0);
    let file = file.map(|folder| folder.join(format!("{}.pcap.gz", load.name)));
    let heard = run(
        what,
        Duration::from_secs(load.seconds),
        host,
        file.as_deref().map(|file| (file, load.frames)),
    )?;
    let mut wrong = Vec::new();
    for rule in heard.raised() {
        if !load.may.iter().any(|may| may == rule) {
            let said = heard.first(rule).map_or("", |alert| &alert.message);
            wrong.push(format!("{rule} fired: {said}"));
        }
    }
    if load.must {
        for rule in load.may.iter().filter(|rule| heard.first(rule).is_none()) {
            wrong.push(format!("{rule} did not fire, and it is a true spike"));
        }
    }
    lost(&heard, &mut wrong);
    if heard.responses == 0 {
        wrong.push("sent nothing".into());
    }
    let verdict = if wrong.is_empty() { "as expected".into() } else { wrong.join("; ") };
    let name = if load.what.is_empty() {
        load.name.clone()
    } else {
        format!("{}: {}", load.name, load.what)
    };
    let row = Row {
        cells: vec![
            name,
            sent(&heard),
            listed(heard.alerts.iter().filter(|alert| alert.severity > 0)),
            listed(heard.alerts.iter().filter(|alert| alert.severity == 0)),
            verdict,
        ],
        wrong,
    };
    eprintln!("  {}", row.cells[1..].join(" | "));
    Ok(vec![row])
}

fn lost(heard: &Heard, wrong: &mut Vec<String>) {
    wrong.extend(heard.losses.iter().map(|loss| format!("lost {loss}")));
}

/// A tool that is not installed: an error, unless it is optional.
fn missing(name: &str, optional: bool, columns: usize) -> Result<Vec<Row>> {
    ensure!(optional, "{name} is not installed: `cargo xtask detect-eval` installs what it can");
    let mut cells = vec!["–".to_owned(); columns];
    cells[0] = name.to_owned();
    cells[columns - 1] = "not installed, not run".into();
    eprintln!("{name}: not installed, not run");
    let wrong = Vec::new();
    Ok(vec![Row { cells, wrong }])
}

fn sent(heard: &Heard) -> String {
    let unanswered = if heard.unanswered > 0 {
        format!(", {} without response", heard.unanswered)
    } else {
        String::new()
    };
    format!(
        "{} ({} distinct) in {:.1} s{unanswered}",
        heard.responses, heard.distinct, heard.seconds
    )
}

fn listed<'a>(alerts: impl Iterator<Item = &'a Alert>) -> String {
    let one = |alert: &Alert| {
        let times = if alert.times > 1 { format!(" × {}", alert.times) } else { String::new() };
        format!("{}{times} ({} requests, {:.1} s)", alert.rule, alert.responses, alert.seconds)
    };
    // Posture findings about the site's own responses occur in every run.
    let (posture, others): (Vec<_>, Vec<_>) =
        alerts.partition(|alert| alert.rule.starts_with("http-posture-"));
    let mut all: Vec<_> = others.into_iter().map(one).collect();
    if !posture.is_empty() {
        all.push(format!("{} of http-posture", posture.len()));
    }
    if all.is_empty() { "–".into() } else { all.join(", ") }
}

fn markdown(heads: &[&str], rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let mut text = line(&heads);
    text.push_str(&line(&vec!["---".to_owned(); heads.len()]));
    for row in rows {
        text.push_str(&line(&row.cells));
    }
    text
}
