//! The programs and the host's filter ship the same fragments, honest or hostile, within the same budget.

use http_trace::probe::loader::{Framing, Settings};
use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::counter::Counter;
use http_trace_common::record::{Hook, Record, flag};
use http_trace_common::walk::{self, Skip};
use http_trace_engine::fragments::shipped::Shipped;
use http_trace_tests::both::both;
use http_trace_tests::ethernet::PushEthernet;
use http_trace_tests::pieces::{cut, scene_in_pieces, talk};
use http_trace_tests::tcp::Path;
use http_trace_tests::test_run::TestRun;
use http_trace_tests::{at_tc, essence, needs, scenes};

#[test]
fn kernel_and_host_ship_the_same_pieces() {
    needs!();
    let scene = scenes::named("lookalike_body");
    for framing in [Framing::Kernel, Framing::Host] {
        for path in [Path::v4(40_000), Path::v6(40_000)] {
            let (mut kernel, mut host) = both(framing, FilterConfig::DEFAULT);
            let mut shipped = 0;
            for (i, (_, frame)) in scene_in_pieces(&scene, &path, 1448, 576).iter().enumerate() {
                let context = at_tc(i, frame);
                let (mut by_host, mut by_kernel) = (Vec::new(), Vec::new());
                let mut keep = |record: Record<'_>| {
                    shipped += usize::from(record.header.has(flag::FRAGMENT));
                    by_host.push(essence(&record));
                };
                host.push_ethernet(frame, &context, &mut keep);
                kernel.push(frame, |record| by_kernel.push(essence(&record))).expect("a test run");
                assert_eq!(by_kernel, by_host, "{framing:?}, frame {}", i + 1);
            }
            assert!(shipped > 3, "{shipped} pieces");
            let counted = kernel.counter(Counter::Fragment);
            assert!(counted > 0 && counted <= shipped as u64, "{counted}");
        }
    }
}

#[test]
fn a_flood_of_pieces_stays_within_its_budget() {
    needs!();
    let kernel =
        TestRun::new(&Settings::default(), Hook::Tc, "http_trace_in").expect("the program loads");
    let scene = scenes::named("lookalike_body");
    let frames = scene_in_pieces(&scene, &Path::v4(40_000), 1448, 576);
    let (_, piece) = frames
        .iter()
        .find(|(_, frame)| walk::ethernet(&frame[..], 0) == Err(Skip::Fragment))
        .expect("a piece");
    // Within one second of the budget, however slow the machine is: in one run of the program.
    kernel.time(piece, 100_000).expect("a test run");
    let (shipped, dropped) =
        (kernel.counter(Counter::Fragment), kernel.counter(Counter::FragmentDropped));
    assert_eq!(shipped + dropped, 100_000);
    assert!(dropped > 0, "{shipped} of 100000 shipped");
    assert!(kernel.counter(Counter::FragmentDroppedBytes) > dropped * 8);
}

/// Small random numbers from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// Fragments with some header bytes changed: lengths, offsets, header lengths, next headers.
fn mutated(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut honest = Vec::new();
    for path in [Path::v4(40_000), Path::v6(40_000)] {
        honest.extend(cut(&talk(&path)).into_iter().map(|(_, frame)| frame));
    }
    honest.retain(|frame| frame.len() > 60);
    (0..count)
        .map(|_| {
            let mut frame = honest[dice.roll(honest.len())].clone();
            for _ in 0..=dice.roll(3) {
                let at = 12 + dice.roll(62.min(frame.len() - 12));
                let odd = [0, 1, 4, 6, 0x40, 0x44, 0x60, 0x7f, 0xff, 44, 51];
                frame[at] = odd[dice.roll(odd.len())];
            }
            frame
        })
        .collect()
}

#[test]
fn kernel_and_host_agree_on_hostile_pieces() {
    needs!();
    let frames = mutated(6000);
    for (framing, which) in
        [(Framing::Kernel, 0), (Framing::Kernel, decap::VXLAN | decap::IPIP), (Framing::Host, 0)]
    {
        let filter = FilterConfig { decap: which, ..FilterConfig::DEFAULT };
        let (mut kernel, mut host) = both(framing, filter);
        let (mut shipped, mut records) = (Shipped::new(which), 0);
        for (i, frame) in frames.iter().enumerate() {
            let (mut by_host, mut by_kernel) = (Vec::new(), Vec::new());
            host.push_ethernet(frame, &at_tc(i, frame), &mut |record: Record<'_>| {
                by_host.push(essence(&record));
                if record.header.has(flag::FRAGMENT) {
                    records += 1;
                    shipped.push(&record, |_| 0);
                }
            });
            kernel.push(frame, |record| by_kernel.push(essence(&record))).expect("a test run");
            assert_eq!(by_kernel, by_host, "{framing:?}, {which}, frame {i}: {frame:x?}");
        }
        assert!(records > 1000, "{records}");
    }
}
