//! Senders on sockets: loads the program that notes them, and reads its map. Knows processes by number only.

use std::array;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};

use aya::maps::MapData;
use aya::programs::{BtfTracePoint, FEntry, ProgramError};
use aya::{Btf, Ebpf};
use http_trace_common::sender::{PLACES, Sender, place_of};

use super::clock::Clock;
use super::loader::program;
use super::sys::MappedWords;
use crate::enrich::process::{SentBy, SocketSenders};

/// The tracepoint, or the function, where the program is attached.
const SENDING: &str = "tcp_sendmsg_locked";
const WORDS: usize = size_of::<Sender>() / size_of::<u64>();
/// How often a slot that is being written is read.
const TRIES: usize = 8;

/// Senders noted by the program.
#[derive(Debug)]
pub struct Senders {
    noted: MappedWords,
    clock: Clock,
}

impl Senders {
    /// Starts noting senders, as long as `ebpf` lives.
    pub fn start(ebpf: &mut Ebpf, map: MapData, clock: Clock) -> Result<Self, String> {
        let unnamed = |why: String| format!("processes are not named: {why}");
        let noted = MappedWords::new(map.fd(), PLACES as usize * WORDS).map_err(|error| {
            unnamed(format!("cannot map the senders noted by the eBPF program ({error})"))
        })?;
        const BTF: &str = "/sys/kernel/btf/vmlinux";
        let btf = Btf::from_sys_fs().map_err(|error| {
            unnamed(match Path::new(BTF).exists() {
                true => format!("cannot read {BTF} ({error})"),
                false => format!("this kernel has no BTF ({BTF} is absent)"),
            })
        })?;
        if let Err(tracepoint) = at_tracepoint(ebpf, &btf)
            && let Err(function) = at_function(ebpf, &btf)
        {
            return Err(unnamed(format!(
                "this kernel does not let eBPF programs see senders ({tracepoint}; {function}); \
                 that needs Linux 6.16, or 5.12 with function tracing, and BTF"
            )));
        }
        Ok(Senders { noted, clock })
    }

    fn noted(&self, cookie: u64) -> Option<Sender> {
        let at = place_of(cookie) as usize * WORDS;
        let place = self.noted.words().get(at..at + WORDS)?;
        for _ in 0..TRIES {
            let version = place[0].load(Ordering::Acquire);
            let words: [u64; WORDS] = array::from_fn(|i| place[i].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if version & 1 == 0 && place[0].load(Ordering::Relaxed) == version {
                let sender: Sender = bytemuck::cast(words);
                return (sender.cookie == cookie).then_some(sender);
            }
            std::hint::spin_loop();
        }
        None
    }
}

impl SocketSenders for Senders {
    fn sender(&self, cookie: u64) -> Option<SentBy> {
        let sender = self.noted(cookie)?;
        Some(SentBy { sender, since_ns: self.clock.unix_ns(sender.since_ns) })
    }
}

fn at_tracepoint(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = program(ebpf, "http_trace_send")?;
    program.load(SENDING, btf)?;
    program.attach().map(drop)
}

fn at_function(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
    let program: &mut FEntry = program(ebpf, "http_trace_fsnd")?;
    program.load(SENDING, btf)?;
    program.attach().map(drop)
}
