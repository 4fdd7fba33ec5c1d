//! Read-only, proved on the object that is shipped: every call of every program in it is decoded
//! and held to a list of helpers that look and never touch.

use http_trace::probe::loader::OBJECT;
use http_trace_tests::need;
use object::{Object, ObjectSection, SectionKind};

/// Helpers by number (linux/bpf.h), and why each is harmless.
const ALLOWED: &[(i32, &str)] = &[
    (1, "map_lookup_elem: our own maps"),
    (2, "map_update_elem: our own maps"),
    (3, "map_delete_elem: our own maps"),
    (8, "get_smp_processor_id"),
    (26, "skb_load_bytes: copies out of the packet"),
    (
        46,
        "get_socket_cookie: reads, or numbers a socket that has none",
    ),
    (79, "skb_cgroup_id"),
    (122, "get_netns_cookie"),
    (125, "ktime_get_boot_ns"),
    (130, "ringbuf_output: our own ring buffer"),
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
/// BPF_LD | BPF_IMM | BPF_DW: takes two slots.
const LOAD_64: u8 = 0x18;

/// What a call instruction calls.
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
        return need::skipped(
            "a compiler for BPF",
            "every_call_is_of_a_helper_that_only_looks",
        );
    }
    let object = object::File::parse(OBJECT).expect("an ELF object");
    let mut met = std::collections::BTreeSet::new();
    let mut programs = 0;
    for section in object
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
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
    assert!(
        programs >= 5,
        "{programs} sections with code: tc, cgroup (2), socket, xdp, shared"
    );
    // The test would see a writer: looking and shipping are met.
    for number in [1, 26, 130, 181, 189] {
        assert!(
            met.contains(&number),
            "helper {number} is expected and not met"
        );
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
        [
            (0, Call::Helper(9)),
            (3, Call::Own),
            (4, Call::Foreign(2)),
            (5, Call::Foreign(0xff)),
        ]
    );
}
