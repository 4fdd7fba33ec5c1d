//! `http-trace report --state FILE`: reports from the inventory kept by runs with this `--state`, also while
//! such a run is active. Counts nothing.

use std::io::{self, IsTerminal, Write};

use super::exit::{Ended, say};
use crate::config::Config;
use crate::sink::Destination;
use crate::sink::format::Format;
use crate::sink::whole_file;
use crate::text::{Escaped, lines_for_terminal};
use http_trace_report::{Form, Options};

/// Writes the report in the format and to the place of the last `--output report`.
pub fn run(config: &Config) -> Result<Ended, String> {
    super::check(config)?;
    let output = config.output.iter().rev().find(|of| of.format == Format::Report);
    let (Some(state), Some(output)) = (&config.state, output) else {
        return Err("give --state FILE to report its inventory".to_owned());
    };
    let options = Options {
        endpoints: config.endpoints(),
        unseen_ns: output.report.unseen_ns,
        shown: |bytes| Escaped(bytes).to_string(),
    };
    let report = read(state, options)?.report();
    let form = output.report.form.unwrap_or(Form::Table);
    let stdout = io::stdout();
    let is_terminal = stdout.is_terminal();
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = width.filter(|_| is_terminal && output.place == Destination::Stdout);
    let text = form.write(&report, width);
    let written = match &output.place {
        Destination::File(path) => whole_file::open(path, output.mode)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.flush()))
            .map_err(|error| format!("{}: {error}", path.display())),
        // Anybody who can write to the database chooses its contents.
        _ if is_terminal => put(lines_for_terminal(&text).as_bytes()),
        _ => put(text.as_bytes()),
    };
    Ok(match written {
        Ok(()) => Ended::Done,
        Err(why) => {
            say(&format!("cannot write the report: {why}"));
            Ended::Lossy
        }
    })
}

/// Writes to standard output; a closed pipe is not an error.
fn put(text: &[u8]) -> Result<(), String> {
    let mut stdout = io::stdout();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

#[cfg(feature = "live")]
fn read(state: &std::path::Path, options: Options) -> Result<http_trace_report::Inventory, String> {
    let path = crate::state_file::inventory::path(state);
    let name = path.display();
    match crate::state_file::inventory::read(&path, options) {
        Ok(Some(inventory)) => Ok(inventory),
        Ok(None) => Err(format!(
            "{name} does not exist: a run with --state {} creates it; name captures or logs to \
             report on them",
            state.display()
        )),
        Err(why) => Err(format!("the inventory {name} cannot be used: {why}")),
    }
}

#[cfg(not(feature = "live"))]
fn read(_: &std::path::Path, _: Options) -> Result<http_trace_report::Inventory, String> {
    Err("this build keeps no inventory: that needs a build with the feature 'live'".to_owned())
}
