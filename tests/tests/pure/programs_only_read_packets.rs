//! The shipped eBPF object calls only helpers that read, and the programs without framing only those of Linux
//! 5.8.

use std::collections::{BTreeMap, BTreeSet};

use http_trace::probe::loader::{Framing, OBJECT, programs_of};
use http_trace_common::record::Hook;
use http_trace_tests::skip;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SectionKind, SymbolIndex,
    SymbolKind,
};

/// Allowed helpers by number (linux/bpf.h), and why each is harmless.
const ALLOWED: &[(i32, &str)] = &[
    (1, "map_lookup_elem: our own maps"),
    (2, "map_update_elem: our own maps"),
    (3, "map_delete_elem: our own maps"),
    (8, "get_smp_processor_id"),
    (14, "get_current_pid_tgid"),
    (15, "get_current_uid_gid"),
    (16, "get_current_comm: into our own map"),
    (26, "skb_load_bytes: copies out of the packet"),
    (46, "get_socket_cookie: reads, or numbers a socket that has none"),
    (68, "skb_load_bytes_relative: copies out of the packet, from its MAC header on"),
    (79, "skb_cgroup_id"),
    (80, "get_current_cgroup_id"),
    (122, "get_netns_cookie"),
    (125, "ktime_get_boot_ns"),
    (130, "ringbuf_output: our own ring buffer"),
    (131, "ringbuf_reserve: of the buffer of what is said in words"),
    (132, "ringbuf_submit"),
    (133, "ringbuf_discard"),
    (160, "ktime_get_coarse_ns"),
    (181, "bpf_loop"),
    (188, "xdp_get_buff_len"),
    (189, "xdp_load_bytes: copies out of the packet"),
];

/// BPF_JMP | BPF_CALL, and BPF_JMP | BPF_CALL | BPF_X (linux/bpf_common.h).
const CALL: u8 = 0x85;
const CALL_REGISTER: u8 = 0x8d;
/// Values of the source register of a call (linux/bpf.h).
const HELPER: u8 = 0;
const PSEUDO_CALL: u8 = 1;
/// BPF_LD | BPF_IMM | BPF_DW, which takes two slots.
const LOAD_64: u8 = 0x18;

/// The target of a call instruction.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// A helper, by number.
    Helper(i32),
    /// A function of the object.
    Own,
    /// A kernel function, or anything else.
    Foreign(u8),
}

fn calls(code: &[u8]) -> Vec<(usize, Call)> {
    let mut calls = Vec::new();
    let mut second_half = false;
    for (at, instruction) in code.chunks_exact(8).enumerate() {
        if std::mem::take(&mut second_half) {
            continue;
        }
        let immediate = i32::from_le_bytes(instruction[4..8].try_into().expect("four bytes"));
        let source = instruction[1] >> 4;
        match instruction[0] {
            LOAD_64 => second_half = true,
            CALL if source == HELPER => calls.push((at, Call::Helper(immediate))),
            CALL if source == PSEUDO_CALL => calls.push((at, Call::Own)),
            CALL => calls.push((at, Call::Foreign(source))),
            CALL_REGISTER => calls.push((at, Call::Foreign(0xff))),
            _ => {}
        }
    }
    calls
}

#[test]
fn every_call_is_of_a_helper_that_only_looks() {
    if OBJECT.is_empty() {
        return skip!("a compiler for BPF");
    }
    let object = object::File::parse(OBJECT).expect("an ELF object");
    let mut met = BTreeSet::new();
    let mut programs = 0;
    for section in object.sections().filter(|section| section.kind() == SectionKind::Text) {
        let name = section.name().expect("a name").to_owned();
        let code = section.data().expect("code");
        assert_eq!(code.len() % 8, 0, "{name}");
        programs += usize::from(!code.is_empty());
        for (at, call) in calls(code) {
            match call {
                Call::Own => {}
                Call::Helper(number) => {
                    assert!(
                        ALLOWED.iter().any(|(allowed, _)| *allowed == number),
                        "{name}, instruction {at}: calls helper {number}, which is not on the list"
                    );
                    met.insert(number);
                }
                Call::Foreign(kind) => {
                    panic!("{name}, instruction {at}: a call of kind {kind}, a kernel function?")
                }
            }
        }
    }
    assert!(programs >= 5, "{programs} sections with code: tc, cgroup (2), socket, xdp, shared");
    // The test finds calls at all: those that read and ship are among them.
    for number in [1, 26, 130, 181, 189] {
        assert!(met.contains(&number), "helper {number} is expected and not met");
    }
}

#[test]
fn calls_are_decoded() {
    let instruction = |code: u8, source: u8, immediate: i32| {
        let mut bytes = vec![code, source << 4, 0, 0];
        bytes.extend(immediate.to_le_bytes());
        bytes
    };
    let code = [
        instruction(CALL, 0, 9),
        instruction(LOAD_64, 0, 1),
        // The second half of a load is data, whatever it looks like.
        instruction(CALL, 0, 11),
        instruction(CALL, 1, -1),
        instruction(CALL, 2, 77),
        instruction(CALL_REGISTER, 0, 0),
    ]
    .concat();
    assert_eq!(
        calls(&code),
        [(0, Call::Helper(9)), (3, Call::Own), (4, Call::Foreign(2)), (5, Call::Foreign(0xff)),]
    );
}

/// The helpers of [`ALLOWED`] in Linux 5.8. The namespace's cookie is used only where the loader has found
/// the helper; elsewhere the verifier never reaches the call.
const IN_5_8: &[i32] = &[1, 2, 3, 8, 26, 46, 68, 79, 122, 125, 130, 131, 132, 133];
/// BPF_STX | BPF_ATOMIC, of 8 and of 4 bytes; with an immediate of 0 it adds without fetching, the only form
/// before Linux 5.12.
const ATOMIC: [u8; 2] = [0xdb, 0xc3];

/// A function of the object: its section, offset and length.
type Place = (usize, u64, u64);

fn functions(object: &object::File<'_>) -> BTreeMap<Place, String> {
    object
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
        .filter_map(|symbol| {
            let section = symbol.section_index()?.0;
            let place = (section, symbol.address(), symbol.size());
            Some((place, symbol.name().ok()?.to_owned()))
        })
        .collect()
}

/// Functions called by a function, from the relocations of its calls.
fn callees(object: &object::File<'_>, code: &[u8], place: Place) -> Vec<(usize, u64)> {
    let (section, address, size) = place;
    let section = object.section_by_index(SectionIndex(section)).expect("a section");
    let relocations: BTreeMap<u64, SymbolIndex> = section
        .relocations()
        .filter_map(|(at, relocation)| match relocation.target() {
            RelocationTarget::Symbol(symbol) => Some((at, symbol)),
            _ => None,
        })
        .collect();
    let own_calls = calls(code).into_iter().filter(|(_, call)| *call == Call::Own);
    own_calls
        .map(|(at, _)| {
            let at = address + at as u64 * 8;
            assert!(at < address + size);
            let offset = (at - address) as usize;
            let immediate = code[offset + 4..offset + 8].try_into().expect("four bytes");
            let ahead = i64::from(i32::from_le_bytes(immediate)) + 1;
            match relocations.get(&at) {
                // Relative to the symbol: the beginning of the section, or the function itself.
                Some(symbol) => {
                    let symbol = object.symbol_by_index(*symbol).expect("a symbol");
                    let section = symbol.section_index().expect("defined here").0;
                    (section, symbol.address().wrapping_add_signed(ahead * 8))
                }
                None => (place.0, at.wrapping_add_signed(ahead * 8)),
            }
        })
        .collect()
}

#[test]
fn what_leaves_framing_to_the_host_needs_linux_5_8_and_no_more() {
    if OBJECT.is_empty() {
        return skip!("a compiler for BPF");
    }
    let object = object::File::parse(OBJECT).expect("an ELF object");
    let functions = functions(&object);
    let entries: Vec<&str> = [Hook::Tc, Hook::SocketFilter, Hook::Cgroup]
        .into_iter()
        .flat_map(programs_of)
        .map(|name| Framing::Host.program(name))
        .collect();
    for entry in entries {
        let start = functions.iter().find(|(_, name)| *name == entry);
        let (start, _) = start.unwrap_or_else(|| panic!("{entry} is not in the object"));
        let (mut open, mut met) = (vec![*start], BTreeSet::new());
        let mut helpers = BTreeSet::new();
        while let Some(place) = open.pop() {
            if !met.insert(place) {
                continue;
            }
            let (section, address, size) = place;
            let data = object.section_by_index(SectionIndex(section)).expect("a section");
            let code = data.data().expect("code");
            let base = (address - data.address()) as usize;
            let code = &code[base..base + size as usize];
            for (_, call) in calls(code) {
                match call {
                    Call::Helper(number) => drop(helpers.insert(number)),
                    Call::Own => {}
                    Call::Foreign(kind) => panic!("{entry}: a foreign call, {kind}"),
                }
            }
            for instruction in code.chunks_exact(8) {
                let plain = instruction[4..8] == [0; 4];
                assert!(
                    !ATOMIC.contains(&instruction[0]) || plain,
                    "{entry}: {}: an atomic operation of Linux 5.12",
                    functions[&place]
                );
            }
            for (section, at) in callees(&object, code, place) {
                let callee = functions.keys().find(|f| f.0 == section && f.1 == at);
                open.push(*callee.unwrap_or_else(|| panic!("{entry}: calls {section}:{at:#x}")));
            }
        }
        let newer: Vec<&i32> = helpers.iter().filter(|h| !IN_5_8.contains(h)).collect();
        assert!(newer.is_empty(), "{entry} calls helpers {newer:?}");
        assert!(met.len() > 3 && helpers.contains(&130), "{entry}: {met:?}");
    }
}
