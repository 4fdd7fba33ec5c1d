//! The maps, whose sizes the loader sets, and the globals that it sets.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use http_trace_common::{
    config::{FilterConfig, limit},
    counter::{self, Counter},
    filter::{Flow, HandBack, Syn},
    flow::{Address, FlowKey, words},
    sender::{PLACES, Sender},
};

use crate::{insn::opaque, log, scratch::Slot};

/// Records for the host. The loader sets the size.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

/// One count per [`Counter`].
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT as u32, 0);

/// Working memory; see [`crate::scratch`].
#[map]
pub static SCRATCH: PerCpuArray<Slot> = PerCpuArray::with_max_entries(crate::scratch::SLOTS, 0);

/// Followed connections. Not preallocated, so that memory grows with use; never evicted, so that short
/// connections do not displace idle ones.
#[map]
pub static FLOWS: HashMap<FlowKey, Flow> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// Handshakes. The oldest is evicted first, so that a SYN flood evicts nothing from [`FLOWS`].
#[map]
pub static SYNS: LruHashMap<FlowKey, Syn> = LruHashMap::with_max_entries(16_384, 0);

/// Framing that the host hands back.
#[map]
pub static HANDED_BACK: LruHashMap<FlowKey, HandBack> = LruHashMap::with_max_entries(1024, 0);

/// Processes that send on sockets, indexed by cookie; the host maps it into its memory.
#[map]
pub static SENDERS: Array<Sender> = Array::with_max_entries(PLACES, BPF_F_MMAPABLE);

/// Endpoints of the agent's own sockets: an address as two words, and a port.
#[map]
static OWN: HashMap<[u64; 3], u32> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);

/// Whether an endpoint belongs to one of the agent's own sockets.
#[inline(always)]
pub fn is_own(address: &Address, port: u16) -> bool {
    let [high, low] = words(address);
    OWN.get_ptr([high, low, u64::from(port)]).is_some()
}

/// State of a CPU that is kept between packets.
#[repr(C)]
pub struct CpuState {
    /// Number of attempts to ship a record.
    pub attempts: u64,
    /// Kernel time at which the current second of the budget began.
    pub unsure_since_ns: u64,
    /// Bytes shipped in it.
    pub unsure_bytes: u64,
    /// The same for the budget of IP fragments.
    pub fragments_since_ns: u64,
    /// Bytes shipped in it.
    pub fragment_bytes: u64,
    /// Kernel time of the last wake-up of the host.
    pub woken_ns: u64,
    /// Kernel time of the last log message; 0 before the first.
    pub logged_ns: u64,
    /// Pending log messages: one bit each.
    pub to_log: u64,
}

#[map]
static CPU: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// The state of this CPU.
#[inline(always)]
pub fn this_cpu() -> Option<*mut CpuState> {
    CPU.get_ptr_mut(0)
}

/// 1 while the host sleeps until it is woken instead of polling by a timer.
#[map]
static ASLEEP: Array<u32> = Array::with_max_entries(1, 0);

/// Whether to wake the host. Only the first caller that finds it asleep does.
#[inline(always)]
pub fn wakes() -> bool {
    let Some(asleep) = ASLEEP.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: a map value. Two CPUs may both wake the host, which costs little.
    unsafe {
        let is_asleep = asleep.read_volatile() != 0;
        if is_asleep {
            asleep.write_volatile(0);
        }
        is_asleep
    }
}

/// Interfaces to trace, for hooks that see all of them.
#[map]
static INTERFACES: HashMap<u32, u8> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// What [`INTERFACES`] restricts; a value of [`limit`].
#[unsafe(no_mangle)]
static LIMIT_INTERFACES: Global<u8> = Global::new(limit::NONE);

/// Whether an interface is traced. Of other network namespaces, whose interfaces have numbers of their own, all are
/// unless some were named.
#[inline(always)]
pub fn is_wanted_interface(index: u32, is_own_netns: bool) -> bool {
    match LIMIT_INTERFACES.load() {
        limit::NONE => true,
        limit::NAMED if !is_own_netns => false,
        _ => !is_own_netns || INTERFACES.get_ptr(index).is_some(),
    }
}

/// Whether the kernel provides the network namespace at the cgroup hook. If not, the verifier sees
/// that the call is unreachable.
#[unsafe(no_mangle)]
pub static CGROUP_NETNS: Global<u8> = Global::new(0);

/// The limits. The loader replaces them before the program is verified.
#[unsafe(no_mangle)]
static CONFIG: FilterConfig = FilterConfig::DEFAULT;

/// The limits as set by the loader.
#[inline(always)]
pub fn config() -> &'static FilterConfig {
    // SAFETY: a valid static; `opaque` only hides its initial value from the compiler.
    unsafe { &*opaque(&raw const CONFIG) }
}

/// Adds to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter, n: u64) {
    log::remember(counter);
    if is_frequent(counter) {
        add_to_counter(counter as u32, n);
    } else {
        verified_count(counter as u32, n);
    }
}

/// Whether most packets with payload increment this counter: a call would cost as much as everything
/// else in counting.
const fn is_frequent(counter: Counter) -> bool {
    matches!(
        counter,
        Counter::Packets
            | Counter::NotTcp
            | Counter::NotHttp
            | Counter::BodySkipped
            | Counter::HeadShipped
            | Counter::Records
            | Counter::RecordBytes
    )
}

/// Counts the rarer counters: inlined at each call site this would be a tenth of a program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_count(number: u32, n: u64) -> u32 {
    add_to_counter(number, n);
    0
}

/// Adds to the counter with this number; used only by [`count`].
#[inline(always)]
fn add_to_counter(number: u32, n: u64) {
    if let Some(value) = COUNTERS.get_ptr_mut(number) {
        // SAFETY: a per-CPU value. A program that interrupts this one may cause an increment to be
        // lost, but never corrupts the value.
        unsafe { *value = (*value).wrapping_add(n) };
    }
}
