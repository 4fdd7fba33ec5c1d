//! The frames of one or more captures, merged in time order.
//!
//! A single capture is streamed: a frame is available as soon as its last byte is. With several, the time of
//! the first frame of each is read first, and a file is only open from its first frame to its last, so that a
//! folder of a thousand rotated files does not need a thousand descriptors.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http_trace_common::walk::LinkType;

use super::error::{CaptureError, Problem};
use super::input::{self, Buffer, Input};
use super::magic::{self, Kind};
use super::pcap::{Pcap, fill};
use super::pcapng::PcapNg;

/// Maximum number of interface names that are assigned a number.
const MAX_NAMES: usize = 1 << 16;

/// Maximum number of problems kept for the summary.
const MAX_PROBLEMS: usize = 1000;

#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Capture time in Unix ns, as in the file: it may go backwards. Frames without a time (simple packet
    /// blocks) get that of the previous frame in the file.
    pub time_ns: u64,
    pub link: LinkType,
    /// Number of the interface for [`Frames::interface_name`]; 0 if there were too many.
    pub interface: u32,
    /// The captured bytes.
    pub data: &'a [u8],
    /// Length on the wire in bytes, at least `data.len()`.
    pub wire_len: u32,
}

/// Position of a packet in its buffer, and its metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    pub time_ns: Option<u64>,
    pub link: LinkType,
    /// Number of the interface within the section (0 for classic pcap).
    pub interface: u32,
    pub data_offset: usize,
    pub data_len: usize,
    pub wire_len: u32,
    /// Number of bytes to consume after the packet.
    pub block_len: usize,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
}

/// An open capture, positioned at a packet.
struct Source {
    buffer: Buffer,
    format: Format,
    current: Meta,
    time_ns: u64,
    /// The current packet's interface, as a number in [`Names`].
    interface: u32,
    /// Number of the file itself, for packets whose interface has no name.
    file_number: u32,
}

/// A capture in the merge, opened when the merge reaches its first frame.
struct Slot {
    input: Input,
    file: Arc<str>,
    state: State,
    /// Its bytes as they are stored, if it is a regular file, and how many of them were read.
    size: Option<u64>,
    read: Arc<AtomicU64>,
}

enum State {
    /// Not opened yet, or opened briefly to read its first time.
    Waiting,
    Open(Box<Source>),
    Done,
}

/// The frames of captures in time order; see the module.
#[derive(Default)]
pub struct Frames {
    slots: Vec<Slot>,
    /// Next times of the slots, earliest first, ties in the order given.
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    current: Option<usize>,
    names: Names,
    problems: Vec<CaptureError>,
    skipped: Vec<PathBuf>,
    /// Number of frames delivered.
    pub delivered: u64,
    /// Frames that are earlier than the one before them in their file.
    pub backwards: u64,
}

impl Frames {
    /// Reads files, folders and `-`. Never fails: unreadable captures are in [`Frames::problems`] once they
    /// have been reached.
    pub fn open(paths: &[PathBuf]) -> Self {
        let mut problems = Vec::new();
        let inputs = input::expand(paths, &mut problems);
        let mut frames = Frames::over(inputs);
        frames.problems.extend(problems);
        for path in paths.iter().filter(|path| path.is_dir()) {
            // A folder that cannot be listed may contain captures.
            let unknown = |problem: &CaptureError| {
                matches!(problem.problem, Problem::Open(_))
                    && Path::new(&problem.file).starts_with(path)
            };
            if frames.problems.iter().any(unknown) {
                continue;
            }
            let below = |slot: &Slot| match &slot.input {
                Input::Found(found) => found.starts_with(path) && !frames.skipped.contains(found),
                _ => false,
            };
            if !frames.slots.iter().any(below) {
                frames.problems.push(CaptureError {
                    file: path.display().to_string(),
                    problem: Problem::EmptyFolder,
                });
            }
        }
        frames
    }

    /// Reads any byte stream; `name` identifies it in messages.
    pub fn from_reader(name: &str, reader: Box<dyn std::io::Read + Send>) -> Self {
        let mut frames = Frames::over(vec![Input::Stdin]);
        frames.slots[0].file = Arc::from(name);
        frames.queue.clear();
        match Buffer::decompressing(reader) {
            Ok(buffer) => frames.begin(0, buffer),
            Err(problem) => frames.report(0, problem),
        }
        frames
    }

    fn over(inputs: Vec<Input>) -> Self {
        let slots: Vec<_> = inputs
            .into_iter()
            .map(|input| Slot {
                file: Arc::from(input.name()),
                size: input.size(),
                input,
                state: State::Waiting,
                read: Arc::default(),
            })
            .collect();
        let mut frames = Frames { slots, ..Frames::default() };
        if let [only] = frames.slots.as_slice() {
            // Order does not matter for a single input: opened when the first frame is requested.
            if !matches!(only.input, Input::Found(_)) {
                frames.queue.push(Reverse((0, 0)));
                return frames;
            }
        }
        for slot in 0..frames.slots.len() {
            frames.peek(slot);
        }
        frames
    }

    /// Reads the time of a slot's first frame. Files that can be reopened are closed meanwhile.
    fn peek(&mut self, slot: usize) {
        self.open_slot(slot);
        let slot = &mut self.slots[slot];
        if slot.size.is_some() && matches!(slot.state, State::Open(_)) {
            slot.state = State::Waiting;
            slot.read.store(0, Ordering::Relaxed);
        }
    }

    fn open_slot(&mut self, slot: usize) {
        let Slot { input, read, .. } = &self.slots[slot];
        match input.open(read) {
            Ok(buffer) => self.begin(slot, buffer),
            Err(problem) => self.finish(slot, Some(problem)),
        }
    }

    /// Detects the format and reads up to the first packet.
    fn begin(&mut self, slot: usize, mut buffer: Buffer) {
        let found = recognise(&mut buffer).and_then(|mut format| {
            let first = format.next(&mut buffer)?;
            Ok((format, first))
        });
        let entry = &mut self.slots[slot];
        match found {
            Ok((format, Some(current))) => {
                let time_ns = current.time_ns.unwrap_or(0);
                entry.state = State::Open(Box::new(Source {
                    buffer,
                    format,
                    current,
                    time_ns,
                    interface: 0,
                    file_number: 0,
                }));
                self.queue.push(Reverse((time_ns, slot)));
            }
            Ok((mut format, None)) => {
                let problem = take_warning(&mut format);
                self.finish(slot, problem);
            }
            Err(Problem::NotACapture(_)) if matches!(entry.input, Input::Found(_)) => {
                if let Input::Found(path) = &entry.input {
                    self.skipped.push(path.clone());
                }
                entry.state = State::Done;
            }
            Err(problem) => self.finish(slot, Some(problem)),
        }
    }

    fn finish(&mut self, slot: usize, problem: Option<Problem>) {
        self.slots[slot].state = State::Done;
        if let Some(problem) = problem {
            self.report(slot, problem);
        }
    }

    fn report(&mut self, slot: usize, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            let file = self.slots[slot].file.to_string();
            self.problems.push(CaptureError { file, problem });
        }
    }

    /// Adds a problem that a later stage found in the current frame's file.
    pub(super) fn report_current(&mut self, problem: Problem) {
        if let Some(slot) = self.current {
            self.report(slot, problem);
        }
    }

    /// Moves to the next frame; `false` at the end of all captures. Blocks on a pipe until a whole frame has
    /// arrived.
    pub fn advance(&mut self) -> bool {
        if let Some(slot) = self.current.take() {
            self.step(slot);
        }
        while let Some(Reverse((_, slot))) = self.queue.pop() {
            let Slot { state, file, .. } = &mut self.slots[slot];
            match state {
                // Opening queues the slot again with the same time, so it is popped next.
                State::Waiting => self.open_slot(slot),
                State::Open(source) => {
                    source.number_interface(file, &mut self.names);
                    self.current = Some(slot);
                    self.delivered += 1;
                    return true;
                }
                State::Done => {}
            }
        }
        false
    }

    /// Consumes the current packet and queues the next one of its capture.
    fn step(&mut self, slot: usize) {
        let State::Open(source) = &mut self.slots[slot].state else { return };
        source.buffer.consume(source.current.block_len);
        match source.format.next(&mut source.buffer) {
            Ok(Some(meta)) => {
                source.current = meta;
                let time_ns = meta.time_ns.unwrap_or(source.time_ns);
                self.backwards += u64::from(time_ns < source.time_ns);
                source.time_ns = time_ns;
                self.queue.push(Reverse((time_ns, slot)));
            }
            Ok(None) => {
                let problem = take_warning(&mut source.format);
                self.finish(slot, problem);
            }
            Err(problem) => {
                let warning = take_warning(&mut source.format);
                self.finish(slot, warning);
                self.report(slot, problem);
            }
        }
    }

    /// The current frame, after [`Frames::advance`].
    pub fn current(&self) -> Option<Frame<'_>> {
        let State::Open(source) = &self.slots[self.current?].state else { return None };
        let meta = &source.current;
        let data = source.buffer.available().get(meta.data_offset..)?.get(..meta.data_len)?;
        Some(Frame {
            time_ns: source.time_ns,
            link: meta.link,
            interface: source.interface,
            data,
            wire_len: meta.wire_len,
        })
    }

    /// [`Frames::advance`] and [`Frames::current`] combined.
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        if self.advance() { self.current() } else { None }
    }

    pub fn current_file(&self) -> Option<Arc<str>> {
        Some(self.slots[self.current?].file.clone())
    }

    /// The name of an interface: from pcapng, otherwise the file name without its folder.
    pub fn interface_name(&self, number: u32) -> Option<&Arc<str>> {
        self.names.by_number.get(number.checked_sub(1)? as usize)
    }

    /// Problems in the order found. Complete once [`Frames::advance`] has returned `false`.
    pub fn problems(&self) -> &[CaptureError] {
        &self.problems
    }

    /// Takes the problems found so far, so that they can be printed during reading.
    pub fn take_problems(&mut self) -> Vec<CaptureError> {
        std::mem::take(&mut self.problems)
    }

    /// Files in folders that were skipped because they are not captures.
    pub fn skipped(&self) -> &[PathBuf] {
        &self.skipped
    }

    /// Bytes of the files that were read, as they are stored, and of how many: `None` where a pipe is among them.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let read = self.slots.iter().map(|slot| match (&slot.state, slot.size) {
            (State::Done, Some(size)) => size,
            _ => slot.read.load(Ordering::Relaxed),
        });
        (read.sum(), self.slots.iter().map(|slot| slot.size).sum())
    }
}

impl Source {
    /// Assigns a number to the current packet's interface.
    fn number_interface(&mut self, file: &Arc<str>, names: &mut Names) {
        if let Format::PcapNg(ng) = &mut self.format
            && let Some(interface) = ng.interface_mut(self.current.interface)
            && let Some(name) = &interface.name
        {
            if interface.number == 0 {
                interface.number = names.number(name, name);
            }
            self.interface = interface.number;
            return;
        }
        if self.file_number == 0 {
            self.file_number = names.number(file, file_name(file));
        }
        self.interface = self.file_number;
    }
}

impl Format {
    fn next(&mut self, buffer: &mut Buffer) -> Result<Option<Meta>, Problem> {
        match self {
            Format::Pcap(pcap) => pcap.next(buffer),
            Format::PcapNg(ng) => ng.next(buffer),
        }
    }
}

/// The last component of a file's path, used as the name of unnamed interfaces.
fn file_name(file: &str) -> &str {
    let name = Path::new(file).file_name().and_then(OsStr::to_str);
    name.unwrap_or(file)
}

/// Interface names and their numbers, starting at 1.
#[derive(Debug, Default)]
struct Names {
    by_number: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32, foldhash::fast::RandomState>,
}

impl Names {
    /// The number for `key`, displayed as `name`: files of the same name in different folders are different
    /// interfaces.
    fn number(&mut self, key: &Arc<str>, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        if self.by_number.len() >= MAX_NAMES {
            return 0;
        }
        self.by_number.push(Arc::from(name));
        let number = self.by_number.len() as u32;
        self.numbers.insert(key.clone(), number);
        number
    }
}

/// Detects the format of a capture.
fn recognise(buffer: &mut Buffer) -> Result<Format, Problem> {
    fill(buffer, magic::LEN)?;
    let Some(first) = buffer.available().first_chunk().copied() else {
        let what = if buffer.available().is_empty() { "it is empty" } else { "it is too short" };
        return Err(Problem::NotACapture(what));
    };
    let mut kind = Kind::of(first);
    if matches!(kind, Kind::Text | Kind::Unknown) {
        fill(buffer, magic::TAR_LEN)?;
        kind = Kind::of_begin(buffer.available());
    }
    let what = match kind {
        Kind::Pcap => return Ok(Format::Pcap(Pcap::open(buffer)?)),
        Kind::PcapNg => return Ok(Format::PcapNg(PcapNg::default())),
        Kind::Snoop => "it is a Solaris snoop capture: convert it with `editcap -F pcap`",
        Kind::BluetoothSnoop => "it is a Bluetooth snoop capture",
        Kind::Gzip | Kind::Zstd => {
            "it is compressed twice: decompress it once first, with `gzip -d` or `zstd -d`"
        }
        Kind::Bzip2 => "it is compressed with bzip2: try `bzip2 -dc FILE | http-trace -r -`",
        Kind::Xz => "it is compressed with xz: try `xz -dc FILE | http-trace -r -`",
        Kind::Lz4 => "it is compressed with lz4: try `lz4 -dc FILE | http-trace -r -`",
        Kind::Zip => "it is a zip archive: try `unzip -p FILE | http-trace -r -`",
        Kind::Tar => "it is a tar archive: unpack it with `tar xf FILE`, then name the folder",
        Kind::Elf => "it is a program",
        Kind::ModifiedPcapBigEndian => {
            "it is a big-endian capture in the modified pcap format: convert it with `editcap -F \
             pcap`"
        }
        Kind::Text => "it is text; read logs and http-trace's json with `http-trace detect`",
        Kind::Unknown => {
            "its format is unknown; `editcap -F pcap` converts formats that Wireshark reads"
        }
    };
    Err(Problem::NotACapture(what))
}

/// A problem of the format that does not stop reading.
fn take_warning(format: &mut Format) -> Option<Problem> {
    match format {
        Format::PcapNg(ng) => ng.unknown_interface.take(),
        Format::Pcap(_) => None,
    }
}
