//! `http-trace detect`: runs rules over recorded events from files or standard input, through the stages that
//! a live run has after pairing. Event time is the recording's.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::exit::{Ended, Reading, say};
use super::pipe::{self, Shared, Unfinished};
use super::session::{Session, reading, started};
use super::stop::Stop;
use crate::capture::error::shown;
use crate::capture::input::{self as capture, Buffer};
use crate::capture::magic::Kind;
use crate::config::Config;
use crate::messages::counted;
use crate::recorded::{Error, Recorded};
use crate::sink::outlet::Next;
use crate::sync::lock;
use http_trace_model::event::HttpEvent;
use http_trace_model::shown::grouped;

/// Number of unreadable lines that are reported individually; further ones are only counted.
const NAMED_LINES: u64 = 10;

/// Reads `paths`; `-` or an empty list is standard input.
pub fn run(config: &Config, paths: &[PathBuf], stop: &Stop) -> Result<Ended, Ended> {
    let session = Session::of_files(config, stop)?;
    let standard_input = [PathBuf::from("-")];
    let paths = if paths.is_empty() { &standard_input[..] } else { paths };
    started(config, &reading(paths));
    let blocks = paths.iter().any(|path| pipe::may_block(path));
    // Shared, so that the counts are reported even if reading is still blocked.
    let read_so_far = Arc::new(Mutex::new(Read::default()));
    let (stop_too, paths) = (stop.clone(), paths.to_vec());
    let of_reader = Arc::clone(&read_so_far);
    let (session, ended) = pipe::drive(session, blocks, move |shared| {
        read(&paths, shared, &stop_too, &of_reader);
    });
    let Some(mut session) = session else { return Ok(Ended::Lossy) };
    let read_so_far = lock(&read_so_far);
    (session.lines, session.malformed) = (read_so_far.lines, read_so_far.not_understood);
    session.broken = read_so_far.bad - read_so_far.not_understood;
    let reading = match ended {
        // Following a log always ends with a signal, which only matters to a gate.
        _ if stop.is_requested() && (!blocks || config.fail_on_alert.is_some()) => {
            Reading::Interrupted
        }
        Err(Unfinished::Failed) => Reading::Faulty,
        _ if read_so_far.bad > 0 => Reading::Faulty,
        _ => Reading::Whole,
    };
    Ok(session.finish(vec![read_so_far.line()], reading))
}

/// Reads files together, in time order, so that neither the order of their names nor two servers with a log each hide
/// what a client did; one after the other where reading may block.
fn read(paths: &[PathBuf], shared: &Mutex<Shared>, stop: &Stop, read_so_far: &Mutex<Read>) {
    let at_a_time = if paths.iter().any(|path| pipe::may_block(path)) { 1 } else { paths.len() };
    for together in paths.chunks(at_a_time.max(1)) {
        let open = |path: &PathBuf| Input::open(path).map_err(|why| problem(shared, why)).ok();
        let files = together.iter().filter_map(open);
        if !drain(files.collect(), shared, stop, read_so_far) {
            return;
        }
    }
}

/// Takes all events of these files, the earliest first; returns false if no more are wanted.
fn drain(
    mut files: Vec<Input>,
    shared: &Mutex<Shared>,
    stop: &Stop,
    read_so_far: &Mutex<Read>,
) -> bool {
    for file in &mut files {
        file.advance(stop, read_so_far);
    }
    let time_of = |file: &Input| file.next.as_ref().map_or(u64::MAX, |event| event.time_ns);
    while let Some(file) = files.iter_mut().min_by_key(|file| time_of(file))
        && let Some(event) = file.next.take()
    {
        let time_ns = event.time_ns;
        let mut shared = lock(shared);
        let Some(session) = shared.session.as_mut() else { return false };
        session.upkeep();
        lock(read_so_far).events += 1;
        let next = session.driver.event(event);
        shared.came(time_ns);
        drop(shared);
        if next == Next::Stop || stop.is_requested() {
            return false;
        }
        file.advance(stop, read_so_far);
    }
    !stop.is_requested()
}

/// A file, and its next event.
struct Input {
    name: String,
    events: Recorded<Buffer>,
    /// Why its last malformed line is so.
    why: String,
    next: Option<Box<HttpEvent>>,
}

impl Input {
    fn open(path: &Path) -> Result<Input, String> {
        let name = path.display().to_string();
        let opened = match path.as_os_str() == "-" {
            true => capture::Input::Stdin,
            false => capture::Input::Named(path.to_owned()),
        };
        let opened = match path.is_dir() {
            true => Err(format!("{name}: it is a folder: name the files in it")),
            false => opened.open(&Arc::default()).map_err(|why| format!("{} {why}", shown(&name))),
        };
        let mut input = opened?;
        if let Some(what) = no_lines(&mut input) {
            return Err(format!("{} {what}", shown(&name)));
        }
        Ok(Input { name, events: Recorded::new(input), why: String::new(), next: None })
    }

    /// Reads up to the next event, or until the run is to stop; reports lines before it that cannot be read.
    fn advance(&mut self, stop: &Stop, read_so_far: &Mutex<Read>) {
        self.next = loop {
            if stop.is_requested() {
                break None;
            }
            let before = (self.events.lines, self.events.others);
            let next = self.events.next();
            let mut read_so_far = lock(read_so_far);
            read_so_far.lines += self.events.lines - before.0;
            read_so_far.others += self.events.others - before.1;
            match next {
                None => break None,
                Some(Ok(event)) => break Some(Box::new(event)),
                Some(Err(error)) => {
                    read_so_far.bad += 1;
                    let Error::Line { why, .. } = &error else {
                        say(&format!("{}: {error}", self.name));
                        continue;
                    };
                    read_so_far.not_understood += 1;
                    // Of a file that is no log, each line is malformed in the same way.
                    let is_new = self.events.events > 0 || *why != self.why;
                    self.why.clone_from(why);
                    if is_new && read_so_far.bad <= NAMED_LINES {
                        say(&format!("{}: {error}", self.name));
                    }
                }
            }
        };
    }
}

/// Records a file that cannot be read.
fn problem(shared: &Mutex<Shared>, what: String) {
    if let Some(session) = lock(shared).session.as_mut() {
        session.problems.push(what);
    }
}

/// What a file that is not text is, and how to read it; otherwise every line would be an error. Waits for the
/// first bytes, as reading a line does; read errors are reported there.
fn no_lines(input: &mut Buffer) -> Option<&'static str> {
    let begin = input.fill_buf().ok()?;
    match Kind::of_begin(begin) {
        Kind::Pcap | Kind::ModifiedPcapBigEndian | Kind::PcapNg => {
            Some("is a capture: `http-trace -r FILE` reads it")
        }
        Kind::Gzip | Kind::Zstd => Some("is compressed twice: decompress it once first"),
        Kind::Bzip2 => Some("is compressed with bzip2: `bzcat FILE | http-trace detect -`"),
        Kind::Xz => Some("is compressed with xz: `xzcat FILE | http-trace detect -`"),
        Kind::Lz4 => Some("is compressed with lz4: `lz4cat FILE | http-trace detect -`"),
        Kind::Zip => Some("is a zip archive: `unzip -p FILE | http-trace detect -`"),
        Kind::Tar => Some("is a tar archive: `tar xOf FILE | http-trace detect -`"),
        Kind::Elf => Some(
            "is a program; want a text file: http-trace's json, http.log, eve.json or an \
                  access log",
        ),
        Kind::Snoop | Kind::BluetoothSnoop | Kind::Text | Kind::Unknown => None,
    }
}

/// Counts of lines by kind.
#[derive(Default)]
struct Read {
    lines: u64,
    events: u64,
    others: u64,
    not_understood: u64,
    /// Lines not understood, and inputs that broke off.
    bad: u64,
}

impl Read {
    /// Formats `12 lines read: 9 events, 2 of other records, 1 malformed`.
    fn line(&self) -> String {
        let mut line =
            format!("{} read: {}", counted(self.lines, "line"), counted(self.events, "event"));
        for (count, what) in [(self.others, "of other records"), (self.not_understood, "malformed")]
        {
            if count > 0 {
                line.push_str(&format!(", {} {what}", grouped(count)));
            }
        }
        line
    }
}
