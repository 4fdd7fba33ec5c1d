//! Runs a loaded program over frames without attaching it (BPF_PROG_TEST_RUN): for tests that compare kernel
//! and host, and for benchmarks.
//!
//! The kernel limits such frames to less than a page and makes linear skbs of them.

use std::error::Error;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, MapData, RingBuf};
use aya::programs::{
    CgroupSkb, ProgramError, SchedClassifier, SocketFilter, TestRun as _, TestRunOptions, Xdp,
};
use http_trace::probe::counters::Counters;
use http_trace::probe::loader::{Settings, load, load_program, map};
use http_trace_common::counter::Counter;
use http_trace_common::filter::{Flow, Syn};
use http_trace_common::record::{Hook, Record};

type KeyWords = [u32; 10];
type FlowWords = [u64; size_of::<Flow>() / 8];
type SynWords = [u32; size_of::<Syn>() / 4];

/// A loaded program that is attached nowhere.
pub struct TestRun {
    ebpf: Ebpf,
    program: &'static str,
    ring: RingBuf<MapData>,
    counters: Counters,
    flows: HashMap<MapData, KeyWords, FlowWords>,
    syns: HashMap<MapData, KeyWords, SynWords>,
}

impl TestRun {
    /// Loads a program of a hook by its name in the object.
    pub fn new(
        settings: &Settings,
        hook: Hook,
        program: &'static str,
    ) -> Result<Self, Box<dyn Error>> {
        let mut ebpf = load(settings, &[hook])?;
        load_program(&mut ebpf, program)?;
        let ring = map(&mut ebpf, "EVENTS")?;
        let counters = Counters::new(map(&mut ebpf, "COUNTERS")?, 0);
        let flows = map(&mut ebpf, "FLOWS")?;
        let syns = map(&mut ebpf, "SYNS")?;
        Ok(TestRun { ebpf, program, ring, counters, flows, syns })
    }

    /// Runs the program over a frame; its records, with kernel times, go to `to`.
    ///
    /// # Errors
    /// If the kernel rejects the frame (too short, or a page and more).
    pub fn push(
        &mut self,
        frame: &[u8],
        mut to: impl FnMut(Record<'_>),
    ) -> Result<(), Box<dyn Error>> {
        self.run(frame, 1)?;
        while let Some(item) = self.ring.next() {
            if let Ok(record) = Record::parse(&item) {
                to(record);
            }
        }
        Ok(())
    }

    /// The average time of a run over a frame, repeated `repeat` times.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<Duration, Box<dyn Error>> {
        self.run(frame, repeat)
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(counter)
    }

    /// Deletes all connections and handshakes.
    pub fn forget(&mut self) -> Result<(), Box<dyn Error>> {
        let keys: Vec<KeyWords> = self.flows.keys().collect::<Result<_, _>>()?;
        for key in keys {
            self.flows.remove(&key)?;
        }
        let keys: Vec<KeyWords> = self.syns.keys().collect::<Result<_, _>>()?;
        for key in keys {
            self.syns.remove(&key)?;
        }
        Ok(())
    }

    fn run(&self, frame: &[u8], repeat: u32) -> Result<Duration, Box<dyn Error>> {
        let options =
            || TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
        let refused = |error: ProgramError| {
            let (len, name) = (frame.len(), self.program);
            format!("cannot run {name} with a frame of {len} bytes: {error}").into()
        };
        let program = self.ebpf.program(self.program);
        let program = program.ok_or_else(|| format!("no program {}", self.program))?;
        let result = if let Ok(program) = <&SchedClassifier>::try_from(program) {
            program.test_run(options())
        } else if let Ok(program) = <&CgroupSkb>::try_from(program) {
            program.test_run(options())
        } else if let Ok(program) = <&Xdp>::try_from(program) {
            program.test_run(options())
        } else {
            <&SocketFilter>::try_from(program).and_then(|program| program.test_run(options()))
        };
        result.map(|result| result.duration).map_err(refused)
    }
}
