//! Tests of eviction, admission and renumbering.

use super::*;
use crate::window::Window;

fn key(n: u64) -> Key {
    Key { correlation: 3, hash: n.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ n << 40 }
}

fn empty() -> Counter {
    Counter::new(Window::new(0, false))
}

/// One more event of a key; returns its count if it is in the table or admitted.
fn see(table: &mut Counters, n: u64) -> Option<u64> {
    table.begin();
    let at = match table.find(key(n)) {
        Some(at) => at,
        None => {
            let mut counter = empty();
            counter.incomplete = table.admit(key(n), None)?;
            table.insert(key(n), counter)
        }
    };
    let counter = table.use_at(at)?;
    counter.events += 1;
    let events = counter.events;
    table.settle(at);
    Some(events)
}

#[test]
fn a_million_strangers_do_not_push_out_one_that_is_at_work() {
    let bound = 8 << 20;
    let mut table = Counters::new(bound);
    let mut counted = 0;
    for n in 0..1_000_000 {
        see(&mut table, n);
        if n % 1000 == 0 {
            counted = see(&mut table, u64::MAX).unwrap_or(0).max(counted);
        }
        assert!(table.bytes() <= bound);
    }
    // It was in the table from the start, so all of its thousand events are counted.
    assert_eq!(counted, 1000);
    assert!(table.turnover().refused > 900_000);
}

#[test]
fn who_comes_to_a_full_table_is_admitted_when_seen_often() {
    let mut table = Counters::new(1 << 20);
    for n in 0..100_000 {
        see(&mut table, n);
    }
    let mut counted = 0;
    for n in 0..100 {
        see(&mut table, 200_000 + n);
        counted = see(&mut table, u64::MAX).unwrap_or(0);
    }
    assert!(counted >= 100 - u64::from(ADMIT_AFTER), "{counted}");
    assert!(table.get_mut(key(u64::MAX)).is_some_and(|c| c.incomplete));
}

#[test]
fn renumbering_keeps_what_is_counted_and_forgets_the_rest() {
    let of = |correlation: u16, n: u64| Key { correlation, ..key(n) };
    let mut table = Counters::new(1 << 20);
    let mut see = |key: Key, by: u64| {
        let mut counter = empty();
        counter.events = by;
        table.insert(key, counter);
    };
    for n in 0..300 {
        see(of((n % 3) as u16, n), n);
    }
    // Correlation 0 is removed, 1 and 2 swap numbers.
    table.renumber(|number| (number != 0).then(|| 3 - number));
    assert_eq!(table.len(), 200);
    for n in 0..300 {
        let events = |t: &mut Counters, number| t.get_mut(of(number, n)).map(|c| c.events);
        for number in 0..3 {
            let expected = (n % 3 != 0 && number == 3 - (n % 3) as u16).then_some(n);
            assert_eq!(events(&mut table, number), expected, "{n} {number}");
        }
    }
    table.renumber(|_| None);
    assert_eq!((table.len(), table.bytes()), (0, 0));
}

#[test]
fn what_is_put_back_leaves_room_and_goes_first_when_it_is_not_used() {
    let mut table = Counters::new(1 << 20);
    let restored = (0..100_000).take_while(|n| table.restore(key(*n), empty()));
    let restored = restored.count() as u64;
    assert!((1000..100_000).contains(&restored), "{restored}");
    for _ in 0..restored - 10 {
        assert!(see(&mut table, 5).is_some(), "used now");
        table.evict(usize::MAX);
    }
    assert_eq!(table.len(), 10);
    assert!(table.get_mut(key(5)).is_some());
}

#[test]
fn a_key_with_an_open_alert_is_evicted_last() {
    let mut table = Counters::new(1 << 20);
    for n in 0..100 {
        let mut counter = empty();
        if n == 7 {
            counter.more().active = Some(Box::new(crate::alert::Active::default()));
        }
        table.insert(key(n), counter);
    }
    for _ in 0..95 {
        table.evict(usize::MAX);
    }
    assert_eq!(table.len(), 5);
    assert!(table.get_mut(key(7)).is_some());
    assert_eq!(table.turnover().evicted, 95);
}

#[test]
fn what_is_over_is_swept() {
    let mut table = Counters::new(1 << 20);
    for n in 0..100 {
        see(&mut table, n);
    }
    table.sweep(200, |key, _| key.hash % 2 == 0);
    let left = table.len();
    assert!(left > 0 && left < 100);
    for n in 0..100 {
        see(&mut table, n);
    }
    assert_eq!(table.len(), 100);
    table.sweep(200, |_, _| true);
    assert_eq!((table.len(), table.bytes()), (0, 0));
}
