//! The shipped object passes the running kernel's verifier at every hook.

use std::fs::File;
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;
use http_trace::probe::loader::{Framing, Settings, load, load_program, programs_of};
use http_trace_common::config::decap;
use http_trace_common::record::Hook;
use http_trace_tests::budget::Budget;
use http_trace_tests::needs;

const HOOKS: [Hook; 4] = [Hook::Tc, Hook::SocketFilter, Hook::Cgroup, Hook::Xdp];

/// Default memory of a socket on recent kernels (`sysctl_optmem_max` in net/core/sock.c), in bytes. Its
/// filter is charged to it.
const OPTMEM_MAX: u32 = 128 << 10;

/// Size of a program beside its instructions (`struct bpf_prog`), in bytes, with a margin for other kernels.
const PROG_HEADER: u32 = 256;

#[test]
fn every_program_passes_the_verifier() {
    needs!();
    let mut with_bodies = Settings::default();
    with_bodies.filter.snippet.bytes = 512;
    with_bodies.filter.snippet.add(404);
    let mut with_tunnels = Settings::default();
    with_tunnels.filter.decap = decap::VXLAN | decap::IPIP;
    let mut with_tags = Settings::default();
    with_tags.filter.decap = decap::VLAN;
    let mut with_both = Settings::default();
    with_both.filter.decap = decap::VXLAN | decap::IPIP | decap::VLAN;
    let with_words = Settings { log: true, ..Settings::default() };
    let with_tunnels_and_words = Settings { log: true, ..with_tunnels.clone() };
    for (what, settings) in [
        ("", Settings::default()),
        (", with bodies", with_bodies),
        (", with tunnels", with_tunnels),
        (", with tags", with_tags),
        (", with both", with_both),
        (", with words", with_words),
        (", with tunnels and words", with_tunnels_and_words),
    ] {
        let mut ebpf = load(&settings, &HOOKS).expect("maps");
        pass(&mut ebpf, what);
        for name in programs_of(Hook::SocketFilter) {
            let info = ebpf.program(name).and_then(|program| program.info().ok());
            let size = info.and_then(|info| info.size_translated());
            assert!(
                size.is_none_or(|size| size + PROG_HEADER <= OPTMEM_MAX),
                "{name}{what}: {size:?}"
            );
        }
    }
}

#[test]
fn the_programs_stay_as_small_as_is_allowed() {
    needs!();
    let allowed = Budget::read().expect("a budget").kernel;
    let mut ebpf = load(&Settings::default(), &HOOKS).expect("maps");
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../http-trace/build/http-trace.bpf.o.gz");
    let shipped = File::open(shipped).expect("the object");
    let bytes = io::copy(&mut GzDecoder::new(shipped), &mut io::sink()).expect("unpacked");
    Budget::check("bytes of the object", bytes as f64, allowed.object_bytes);
    let mut most = 0;
    for name in programs_of(Hook::Tc) {
        load_program(&mut ebpf, name).unwrap_or_else(|error| panic!("{error:?}"));
        let info = ebpf.program(name).expect("just loaded").info();
        let verified = info.expect("loaded").verified_instruction_count();
        most = most.max(verified.unwrap_or(0));
    }
    Budget::check("verified instructions", f64::from(most), allowed.verified_instructions);
}

fn pass(ebpf: &mut aya::Ebpf, what: &str) {
    let framing = HOOKS.into_iter().flat_map(programs_of).copied();
    let host = [Hook::Tc, Hook::SocketFilter, Hook::Cgroup]
        .into_iter()
        .flat_map(programs_of)
        .map(|name| Framing::Host.program(name));
    for name in framing.chain(host) {
        let start = std::time::Instant::now();
        load_program(ebpf, name).unwrap_or_else(|error| panic!("{error:?}"));
        let info = ebpf.program(name).expect("just loaded").info().expect("loaded");
        println!(
            "{name}{what}: {:?} verified insns, {:?} bytes, {:?}",
            info.verified_instruction_count(),
            info.size_translated(),
            start.elapsed()
        );
    }
}
