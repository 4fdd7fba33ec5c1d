//! `http-trace detect`: rules over events that were recorded, from files or standard input, through
//! the stages that a live run has after pairing. Event time is the recording's.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use super::{Ended, Stop, finish, say, started};
use crate::config::Config;
use crate::own::OwnSockets;
use crate::recorded::{Error, Recorded};
use crate::sink::outlet::Next;
use crate::sink::writer::WhenFull;
use crate::summary::counted;

/// Lines that cannot be read and are told one by one; of more there is a count.
const TOLD_LINES: u64 = 10;

/// Reads `paths` one after the other, or standard input when there are none or for `-`.
pub fn run(config: &Config, paths: &[PathBuf], stop: &Stop) -> Ended {
    let own = OwnSockets::default();
    let mut engine = match super::open(config, WhenFull::Wait, &own) {
        Ok(engine) => engine,
        Err(ended) => return ended,
    };
    let standard_input = [PathBuf::from("-")];
    let paths = if paths.is_empty() {
        &standard_input[..]
    } else {
        paths
    };
    started(config, &reading(paths));
    let mut read = Read::default();
    let mut bad = 0;
    for path in paths {
        let name = path.display();
        let input: Box<dyn BufRead> = if path.as_os_str() == "-" {
            Box::new(io::stdin().lock())
        } else {
            match File::open(path) {
                Ok(file) => Box::new(BufReader::with_capacity(1 << 16, file)),
                Err(error) => {
                    say(&format!("{name}: {error}"));
                    bad += 1;
                    continue;
                }
            }
        };
        let mut events = Recorded::new(input);
        for event in events.by_ref() {
            super::upkeep(config, &mut engine, stop);
            let next = match event {
                Ok(event) => engine.event(Box::new(event)),
                Err(error) => {
                    bad += 1;
                    read.not_understood += u64::from(matches!(error, Error::Line { .. }));
                    if bad <= TOLD_LINES || matches!(error, Error::Input { .. }) {
                        say(&format!("{name}: {error}"));
                    }
                    Next::Go
                }
            };
            if next == Next::Stop || stop.is_requested() {
                break;
            }
        }
        read.lines += events.lines();
        read.events += events.events();
        read.others += events.others();
    }
    finish(config, engine, vec![read.line()], bad > 0)
}

/// What was in the lines.
#[derive(Default)]
struct Read {
    lines: u64,
    events: u64,
    others: u64,
    not_understood: u64,
}

impl Read {
    /// `12 lines read: 9 events, 2 of other records, 1 not understood`.
    fn line(&self) -> String {
        let mut line = format!(
            "{} read: {}",
            counted(self.lines, "line"),
            counted(self.events, "event")
        );
        for (count, what) in [
            (self.others, "of other records"),
            (self.not_understood, "not understood"),
        ] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        line
    }
}

fn reading(paths: &[PathBuf]) -> String {
    let named = |path: &PathBuf| match path.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    };
    let first: Vec<String> = paths.iter().take(3).map(named).collect();
    let more = match paths.len().saturating_sub(3) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("reading {}{more}", first.join(", "))
}
