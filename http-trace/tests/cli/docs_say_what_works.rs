//! Commands and paths in the documentation are valid: every command of ours parses, those that only read
//! files run, and every path exists.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use clap::error::ErrorKind as K;
use http_trace::cli::Cli;

use crate::NGINX;
use crate::command::{http_trace, ran};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every document, with its path relative to the root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    for folder in ["", "docs", "deploy/kubernetes", "tests", "fuzz"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.extension().is_some_and(|ending| ending == "md") {
                let name = Path::new(folder).join(path.file_name().unwrap());
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 10, "{}", found.len());
    found
}

/// The commands in shell blocks, with continuation lines joined.
fn typed(text: &str) -> Vec<String> {
    let (mut commands, mut block, mut goes_on) = (Vec::<String>::new(), None, false);
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = block.is_none().then(|| language.to_owned());
            goes_on = false;
        } else if matches!(block.as_deref(), Some("" | "sh" | "console" | "bash")) {
            let (part, more) = match line.trim().strip_suffix('\\') {
                Some(part) => (part.trim_end(), true),
                None => (line.trim(), false),
            };
            match commands.last_mut().filter(|_| goes_on) {
                Some(command) => command.extend([" ", part]),
                None => commands.push(part.trim_start_matches("$ ").to_owned()),
            }
            goes_on = more;
        }
    }
    commands
}

/// The text of inline code.
fn inline(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The arguments of a command of ours, without shell syntax.
fn ours(command: &str) -> Option<Vec<String>> {
    let command = command.strip_prefix("sudo ").unwrap_or(command);
    let command = command.strip_prefix("target/release/").unwrap_or(command);
    let command = command.split(" # ").next()?.split("   #").next()?;
    let end = command.find([';', '&', '>', '<']).unwrap_or(command.len());
    let pipe = command.find(" | ").unwrap_or(command.len());
    let command = &command[..end.min(pipe)];
    let words = shell_words::split(command).ok()?;
    let is_whole = !command.contains(['…', '[']) && !command.contains("...");
    (words.first().is_some_and(|word| word == "http-trace") && is_whole).then_some(words)
}

#[test]
fn every_command_of_ours_parses() {
    let mut parsed = 0;
    for (document, text) in documents() {
        let inline: Vec<String> = inline(&text).map(str::to_owned).collect();
        for command in typed(&text).into_iter().chain(inline) {
            let Some(words) = ours(&command) else {
                continue;
            };
            // Help and version are reported as errors.
            let parses = match Cli::try_parse_from(&words) {
                Ok(_) => Ok(()),
                Err(error) if !error.use_stderr() => Ok(()),
                // Prose names commands without their arguments.
                Err(error)
                    if matches!(
                        error.kind(),
                        K::DisplayHelpOnMissingArgumentOrSubcommand | K::MissingRequiredArgument
                    ) =>
                {
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            };
            assert_eq!(parses, Ok(()), "{}: {command}", document.display());
            parsed += 1;
        }
    }
    assert!(parsed > 60, "{parsed}");
}

/// The files that examples use, as a user would have them.
fn a_desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| fs::write(desk.path().join(name), content).unwrap();
    let capture = fs::read(NGINX).unwrap();
    for name in ["capture.pcap", "day.pcap", "week1.pcap", "week2.pcap", "day1.pcapng.gz"] {
        put(name, &capture);
    }
    fs::create_dir(desk.path().join("captures")).unwrap();
    put("captures/one.pcap", &capture);
    const LOG: &str =
        "192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n";
    for name in ["access.log", "eve.json", "http.log", "events.jsonl"] {
        put(name, LOG.as_bytes());
    }
    put("known.allow", b"GET shop.example /a\n");
    let rule = include_str!("../../detect/rules/error-spike.yml");
    let own = rule.replace("http-error", "shop-error");
    for name in ["shop.yml", "my.yml"] {
        put(name, own.as_bytes());
    }
    desk
}

#[test]
fn what_only_reads_runs_as_it_is_written() {
    let desk = a_desk();
    let mut count = 0;
    for (document, text) in documents() {
        for command in typed(&text) {
            let Some(words) = ours(&command) else {
                continue;
            };
            let reads = words.iter().any(|word| {
                matches!(word.as_str(), "-r" | "detect" | "report" | "rules" | "schema" | "man")
            });
            let is_elsewhere = |word: &String| word.starts_with('/') || word.contains(":/");
            // Upper-case names are placeholders.
            let stands_for = |word: &String| word.bytes().all(|b| b.is_ascii_uppercase());
            let of_others = words
                .iter()
                .any(|word| is_elsewhere(word) || stands_for(word) || word.starts_with("sigma/"));
            if !reads || of_others {
                continue;
            }
            let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            let done = ran(http_trace(&words).current_dir(desk.path()));
            let is_alert = done.status == 3;
            assert!(
                done.status == 0 || is_alert,
                "{}: {command}: {} {}{}",
                document.display(),
                done.status,
                done.err,
                done.out
            );
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}

#[test]
fn every_path_that_is_named_is_there() {
    const FOLDERS: [&str; 9] = [
        "docs/", "deploy/", "http-trace/", "http-trace-common/", "http-trace-ebpf/", "tests/",
        "xtask/", "fuzz/", ".ci/",
    ];
    let mut missing = Vec::new();
    let mut named = 0;
    for (document, text) in documents() {
        let folder = root().join(document.parent().unwrap());
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        for link in links {
            let path = link.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") {
                named += 1;
                if !folder.join(path).exists() {
                    missing.push(format!("{}: {link}", document.display()));
                }
            }
        }
        for path in inline(&text) {
            let is_path = FOLDERS.iter().any(|folder| path.starts_with(folder))
                && !path.contains([' ', '*', '…', '{', '<', ':', '|', '\\']);
            // Upper-case names are placeholders.
            let is_open = path.split(['/', '.']).any(|part| {
                part.len() > 1
                    && part.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
                    && !part.starts_with("LICENSE")
            });
            if is_path && !is_open {
                named += 1;
                let below = [root().join(path), folder.join(path)];
                let made = path.starts_with("tests/captures/") && path.ends_with('/');
                if !below.iter().any(|path| path.exists()) && !made {
                    missing.push(format!("{}: {path}", document.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(named > 100, "{named}");
}
