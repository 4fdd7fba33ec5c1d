//! Tries a hook where it disturbs nobody, and finds filters left by an earlier run. Traces nothing.

use std::thread;

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use http_trace_common::record::Hook;

use super::attach::Attached;
use super::interfaces::Interfaces;
use super::loader::{self, Settings};
use super::{framing_in_words, sys, tc};
use crate::config::TcMode;

/// Loads the programs of a hook, attaches them to lo in a new network namespace, and detaches them. Returns
/// how they were attached. The cgroup hook is briefly attached to the host's root cgroup.
pub fn try_hook(hook: Hook, tc_mode: TcMode) -> Result<String, String> {
    thread::scope(|scope| {
        let trial = thread::Builder::new().spawn_scoped(scope, || in_own_namespace(hook, tc_mode));
        let trial = trial.map_err(|error| format!("not tried: cannot start a thread: {error}"))?;
        trial.join().unwrap_or_else(|_| Err("failed".to_owned()))
    })
}

fn in_own_namespace(hook: Hook, tc_mode: TcMode) -> Result<String, String> {
    sys::leave_netns().map_err(|error| {
        format!("not tried: creating a network namespace needs CAP_SYS_ADMIN ({error})")
    })?;
    let mut ebpf = loader::load(&Settings::default(), &[hook])?;
    let (framing, why_host) = loader::choose_framing(&mut ebpf, &[hook], false)?;
    let mut attached = Attached::new(tc_mode, framing);
    attached.host(&mut ebpf, &[hook])?;
    let interfaces = Interfaces::open().map_err(|error| error.to_string())?;
    for (index, lo) in &interfaces.known {
        attached.interface(&mut ebpf, &[hook], *index, lo)?;
    }
    let mut words = vec![framing_in_words(framing, why_host.as_deref())];
    words.extend(attached.modes().into_iter().map(str::to_owned));
    Ok(words.join(", "))
}

/// Whether this process may load programs at all, whatever the hook.
pub fn may_load() -> Result<(), String> {
    let asked = is_helper_supported(ProgramType::SocketFilter, BpfHelper::BPF_FUNC_skb_load_bytes);
    asked.map(drop).map_err(|error| error.to_string())
}

/// Interfaces with filters of ours at clsact that no running http-trace holds; `clean` deletes these filters.
pub fn leftovers(clean: bool) -> Result<Vec<String>, String> {
    let interfaces = Interfaces::open().map_err(|error| error.to_string())?;
    let mut left = Vec::new();
    for (index, interface) in &interfaces.known {
        for side in tc::Side::ALL {
            if !tc::has_left(*index, side).unwrap_or(false) {
                continue;
            }
            let place = format!("{} {}", interface.name, side.name());
            if clean {
                tc::remove_left(&interface.name, side).map_err(|e| format!("{place}: {e}"))?;
            }
            left.push(place);
        }
    }
    Ok(left)
}
