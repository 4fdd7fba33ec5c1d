//! Loads the programs with their map sizes and limits, and explains in one line why the kernel refuses them.
//! Attaches nothing. An error is a line that says what to do next.

use std::{error::Error, fs, io, iter::successors, panic::resume_unwind, thread};

use aya::{
    Ebpf, EbpfError, EbpfLoader,
    maps::{Map, MapError, MapType},
    programs::{CgroupSkb, Program, ProgramError, ProgramType, SchedClassifier, SocketFilter, Xdp},
    sys::{BpfHelper, is_helper_supported, is_map_supported},
};
use http_trace_common::config::{FilterConfig, limit};
use http_trace_common::{record::Hook, sender::PLACES};

use crate::privileges::{self, CapabilitySet};

/// The object from the build script; empty if there was no BPF compiler.
pub static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/http-trace.bpf.o"));

/// Who does HTTP/1.x framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The programs, which skip bodies; needs `bpf_loop`.
    #[default]
    Kernel,
    /// The host alone: the programs ship connections that begin like HTTP/1.x whole, within a budget.
    Host,
}

impl Framing {
    /// The variant of `program`, one of [`programs_of`], for this framing.
    pub fn program(self, program: &'static str) -> &'static str {
        if self == Framing::Kernel {
            return program;
        }
        match program {
            "http_trace_in" => "http_trace_hin",
            "http_trace_out" => "http_trace_hout",
            "http_trace_ip_in" => "http_trace_hipi",
            "http_trace_ipout" => "http_trace_hipo",
            "http_trace_sock" => "http_trace_hsoc",
            "http_trace_cg_in" => "http_trace_hcgi",
            "http_trace_cgout" => "http_trace_hcgo",
            // XDP has no such variant: it needs newer kernels anyway.
            other => other,
        }
    }
}

/// Sizes and limits, fixed while the programs are loaded.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Configuration read by the programs.
    pub filter: FilterConfig,
    /// Maximum number of connections followed.
    pub flows: u32,
    /// Maximum number of handshakes remembered.
    pub syns: u32,
    /// Size of the ring buffer in bytes; rounded up to a power of two of at least 64 KiB.
    pub ring_bytes: u32,
    /// Which packets hooks accept that are not bound to an interface: a value of
    /// [`http_trace_common::config::limit`].
    pub limit_interfaces: u8,
    /// Whether senders on sockets are noted.
    pub senders: bool,
    /// Whether the programs log what they are and which errors they meet.
    pub log: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            filter: FilterConfig::DEFAULT,
            flows: 65_536,
            syns: 16_384,
            ring_bytes: 16 << 20,
            limit_interfaces: limit::NONE,
            senders: false,
            log: false,
        }
    }
}

/// Takes a map of a loaded object.
pub fn map<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<T, String> {
    take_map(ebpf, name)?.try_into().map_err(mismatch)
}

pub fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, String> {
    let missing = || mismatch(MapError::InvalidName { name: name.to_owned() });
    ebpf.take_map(name).ok_or_else(missing)
}

pub fn mismatch(error: MapError) -> String {
    format!("the eBPF object does not match this binary ({error}): rebuild both")
}

/// Entry points of a hook, by their names in the object.
pub const fn programs_of(hook: Hook) -> &'static [&'static str] {
    match hook {
        Hook::Capture => &[],
        Hook::Tc => &["http_trace_in", "http_trace_out", "http_trace_ip_in", "http_trace_ipout"],
        Hook::SocketFilter => &["http_trace_sock"],
        Hook::Cgroup => &["http_trace_cg_in", "http_trace_cgout"],
        // XDP sees only ingress; TC egress sees the other direction.
        Hook::Xdp => &["http_trace_xdp", "http_trace_out", "http_trace_ip_in", "http_trace_ipout"],
    }
}

/// Creates the maps. Programs are verified later, by [`load_program`].
pub fn load(settings: &Settings, hooks: &[Hook]) -> Result<Ebpf, String> {
    load_object(OBJECT, settings, hooks)
}

/// [`load`] with another object than this build's, so that two can be measured in one run.
pub fn load_object(object: &[u8], settings: &Settings, hooks: &[Hook]) -> Result<Ebpf, String> {
    if object.is_empty() {
        return Err(
            "this binary was built without the eBPF programs and only reads captures (-r FILE): \
             build it with `cargo xtask build --release`"
                .to_owned(),
        );
    }
    check_capabilities(hooks)?;
    let ring = settings.ring_bytes.clamp(64 << 10, 1 << 30).next_power_of_two();
    let cgroup_netns = hooks.contains(&Hook::Cgroup)
        && is_helper_supported(ProgramType::CgroupSkb, BpfHelper::BPF_FUNC_get_netns_cookie)
            .unwrap_or(false);
    EbpfLoader::new()
        .override_global("CONFIG", bytemuck::bytes_of(&settings.filter), true)
        .override_global("LIMIT_INTERFACES", &settings.limit_interfaces, true)
        .override_global("CGROUP_NETNS", &u8::from(cgroup_netns), true)
        .override_global(aya_log::LEVEL, &log_level(settings), true)
        .map_max_entries("FLOWS", settings.flows.max(1))
        .map_max_entries("SYNS", settings.syns.max(1))
        .map_max_entries("SENDERS", if settings.senders { PLACES } else { 1 })
        .map_max_entries("EVENTS", ring)
        .load(object)
        .map_err(load_error)
}

/// Chooses who does framing on this kernel, by verifying the programs of these hooks, which stay loaded. If
/// it is the host and that was not requested, also returns why.
pub fn choose_framing(
    ebpf: &mut Ebpf,
    hooks: &[Hook],
    host: bool,
) -> Result<(Framing, Option<String>), String> {
    let needs_host = hooks.iter().find(|hook| **hook == Hook::Xdp);
    let why = if host {
        "as configured".to_owned()
    } else {
        match try_framing(ebpf, hooks) {
            Ok(()) => return Ok((Framing::Kernel, None)),
            Err(error) => reason(&error),
        }
    };
    if let Some(hook) = needs_host {
        let hook = hook.name();
        return Err(format!("{hook} cannot leave framing to the agent ({why}): use --hook tc"));
    }
    let names: Vec<_> = of_ethernet(hooks).map(|name| Framing::Host.program(name)).collect();
    load_programs(ebpf, &names)?;
    Ok((Framing::Host, (!host).then_some(why)))
}

/// Reduces a verifier log to the line that gives the reason.
fn reason(text: &str) -> String {
    const LOG: &str = ". Verifier output:";
    let Some((what, log)) = text.split_once(LOG) else {
        return text.to_owned();
    };
    let is_statistics = |line: &&str| {
        ["verification time", "stack depth", "processed "]
            .iter()
            .any(|begin| line.starts_with(begin))
    };
    let mut lines = log.lines().rev().map(str::trim);
    let said = lines.find(|line| !line.is_empty() && !is_statistics(line));
    format!("{what}: {}", said.unwrap_or_default())
}

fn try_framing(ebpf: &mut Ebpf, hooks: &[Hook]) -> Result<(), String> {
    // The verifier's message about an unknown helper is not helpful, so check for helpers explicitly.
    let kinds = [
        (ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_loop, "bpf_loop (Linux 5.17)", true),
        (
            ProgramType::Xdp,
            BpfHelper::BPF_FUNC_xdp_load_bytes,
            "bpf_xdp_load_bytes (Linux 5.18)",
            hooks.contains(&Hook::Xdp),
        ),
    ];
    for (program, helper, what, is_needed) in kinds {
        if is_needed && is_helper_supported(program, helper).is_ok_and(|has| !has) {
            return Err(lacks(
                what,
                "other hooks can leave framing to the agent: choose one with --hook",
            ));
        }
    }
    load_programs(ebpf, &of_ethernet(hooks).collect::<Vec<_>>())
}

/// The programs of these hooks that almost every host needs.
fn of_ethernet(hooks: &[Hook]) -> impl Iterator<Item = &'static str> {
    let all = hooks.iter().flat_map(|hook| programs_of(*hook));
    all.copied().filter(|name| !name.starts_with("http_trace_ip"))
}

/// `what` is a feature, with the first Linux version that has it.
fn lacks(what: &str, instead: &str) -> String {
    let has = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let has = has.trim();
    format!("this needs {what}, which this kernel ({has}) lacks: {instead}")
}

/// Maximum level of aya-log; at 0 the verifier removes the logging code.
fn log_level(settings: &Settings) -> u8 {
    if settings.log { aya_log::Level::Info as u8 } else { 0 }
}

/// A program by its name and kind.
pub fn program<'e, P>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut P, ProgramError>
where
    &'e mut P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    let missing = || ProgramError::InvalidName { name: name.to_owned() };
    ebpf.program_mut(name).ok_or_else(missing)?.try_into()
}

/// Verifies a program, unless already done.
pub fn load_program(ebpf: &mut Ebpf, name: &str) -> Result<(), String> {
    match ebpf.program_mut(name) {
        Some(program) => verify(name, program),
        None => Err(refused(name, &ProgramError::InvalidName { name: name.to_owned() })),
    }
}

/// Whether a program has passed the verifier.
pub fn is_loaded(ebpf: &Ebpf, name: &str) -> bool {
    ebpf.program(name).is_some_and(|program| program.fd().is_ok())
}

/// [`load_program`] for several programs in parallel: verification takes about 0.2 s each.
pub fn load_programs(ebpf: &mut Ebpf, names: &[&str]) -> Result<(), String> {
    let wanted = ebpf.programs_mut().filter(|(name, _)| names.contains(name));
    thread::scope(|scope| {
        let verified = |(name, program)| {
            thread::Builder::new().spawn_scoped(scope, move || verify(name, program))
        };
        let threads: Vec<_> = wanted.map(verified).collect();
        threads.into_iter().try_for_each(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(error) => Err(format!("cannot start a thread: {error}")),
        })
    })
}

fn verify(name: &str, program: &mut Program) -> Result<(), String> {
    let loaded = match program {
        Program::SchedClassifier(p) => SchedClassifier::load(p),
        Program::SocketFilter(p) => SocketFilter::load(p),
        Program::CgroupSkb(p) => CgroupSkb::load(p),
        Program::Xdp(p) => Xdp::load(p),
        _ => Err(ProgramError::UnexpectedProgramType),
    };
    match loaded {
        Ok(()) | Err(ProgramError::AlreadyLoaded) => Ok(()),
        Err(error) => Err(refused(name, &error)),
    }
}

fn refused(name: &str, error: &ProgramError) -> String {
    format!("cannot load the program {name}: {error}")
}

fn check_capabilities(hooks: &[Hook]) -> Result<(), String> {
    let mut needed = privileges::ATTACHING;
    needed.set(CapabilitySet::NET_RAW, hooks.contains(&Hook::SocketFilter));
    let missing = privileges::missing(needed, privileges::held());
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "live tracing needs {}: run as root, or run `setcap \
             cap_bpf,cap_net_admin,cap_perfmon,cap_net_raw+ep` on the binary",
            privileges::lost(missing)
        )),
    }
}

/// The I/O errors among an error and its causes.
pub fn io_errors<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e io::Error> {
    let causes = successors(Some(error), |&error| error.source());
    causes.filter_map(|cause| cause.downcast_ref())
}

fn load_error(error: EbpfError) -> String {
    if is_map_supported(MapType::RingBuf).is_ok_and(|has| !has) {
        return lacks(
            "the BPF ring buffer (Linux 5.8)",
            "trace on a newer kernel, or read captures (-r FILE)",
        );
    }
    // EPERM despite CAP_BPF: seccomp, lockdown or kernel.unprivileged_bpf_disabled.
    if let Some(io) = io_errors(&error).find(|io| io.kind() == io::ErrorKind::PermissionDenied) {
        let why = io::Error::from(io.kind());
        if privileges::in_user_namespace() {
            return format!("the kernel refuses bpf(2) ({why}): {}", privileges::OF_NAMESPACE);
        }
        return format!(
            "the kernel refuses bpf(2) ({why}): it is disabled, or a seccomp profile or \
             security module forbids it; allow bpf(2) there"
        );
    }
    format!("cannot load the maps: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_verifiers_log_the_reason_is_kept() {
        let text = "cannot load the program p: Permission denied. Verifier output: Func#10 is \
                    safe\n5529: (85) call bpf_map_lookup_elem#1\nR2 type=mem expected=fp, \
                    map_value\nverification time 5 usec\nstack depth 0+32\nprocessed 53001 insns\n";
        assert_eq!(
            reason(text),
            "cannot load the program p: Permission denied: R2 type=mem expected=fp, map_value"
        );
        assert_eq!(reason("no log"), "no log");
    }
}
