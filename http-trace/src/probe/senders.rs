//! Who sends on sockets: loads the program that notes it and reads what it has noted. Knows processes by
//! number only.

use std::array;
use std::io;
use std::sync::atomic::{Ordering, fence};

use aya::maps::MapData;
use aya::programs::{BtfTracePoint, FEntry, ProgramError};
use aya::{Btf, Ebpf};
use http_trace_common::sender::{PLACES, Sender, place_of};

use super::clock::Clock;
use super::sys::MappedWords;
use crate::enrich::process::{SentBy, SocketSenders};

/// What the programs look at: the tracepoint, or the function.
const SENDING: &str = "tcp_sendmsg_locked";
const WORDS: usize = size_of::<Sender>() / size_of::<u64>();
/// How often a place is read that is just written.
const TRIES: usize = 8;

/// Why nobody is known to send.
#[derive(Debug, thiserror::Error)]
pub enum NoSenders {
    /// The kernel runs neither program.
    #[error(
        "processes are not named: this kernel lets no program see who sends ({tracepoint}; {function}), \
         which takes Linux 6.16, or 5.12 with function tracing, and its BTF"
    )]
    Refused {
        /// Why not at the tracepoint.
        tracepoint: Box<ProgramError>,
        /// Nor at the function.
        function: Box<ProgramError>,
    },
    /// Types of the kernel, which say what the programs are given.
    #[error("processes are not named: /sys/kernel/btf/vmlinux cannot be read ({0})")]
    Btf(#[from] aya::BtfError),
    /// What they note cannot be read.
    #[error("processes are not named: what the eBPF program notes cannot be mapped ({0})")]
    Map(#[from] io::Error),
}

/// What the program has noted.
#[derive(Debug)]
pub struct Senders {
    noted: MappedWords,
    clock: Clock,
}

impl Senders {
    /// Has the program note who sends from now on, as long as `ebpf` lives.
    ///
    /// # Errors
    /// In one line, for the person.
    pub fn start(ebpf: &mut Ebpf, map: MapData, clock: Clock) -> Result<Self, NoSenders> {
        let noted = MappedWords::new(map.fd(), PLACES as usize * WORDS)?;
        let btf = Btf::from_sys_fs()?;
        if let Err(tracepoint) = at_tracepoint(ebpf, &btf)
            && let Err(function) = at_function(ebpf, &btf)
        {
            return Err(NoSenders::Refused {
                tracepoint: tracepoint.into(),
                function: function.into(),
            });
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
        Some(SentBy {
            sender,
            since_ns: self.clock.unix_ns(sender.since_ns),
        })
    }
}

fn at_tracepoint(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
    let program: &mut BtfTracePoint = named(ebpf, "http_trace_send")?.try_into()?;
    program.load(SENDING, btf)?;
    program.attach().map(drop)
}

fn at_function(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), ProgramError> {
    let program: &mut FEntry = named(ebpf, "http_trace_fsnd")?.try_into()?;
    program.load(SENDING, btf)?;
    program.attach().map(drop)
}

fn named<'e>(
    ebpf: &'e mut Ebpf,
    name: &str,
) -> Result<&'e mut aya::programs::Program, ProgramError> {
    let missing = || ProgramError::InvalidName {
        name: name.to_owned(),
    };
    ebpf.program_mut(name).ok_or_else(missing)
}
