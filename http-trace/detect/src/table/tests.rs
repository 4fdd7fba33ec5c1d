//! Who stays in the table, who comes in, and what numbers keys have.

use super::*;
use crate::window::Window;

fn key(n: u64) -> Key {
    Key {
        correlation: 3,
        hash: n.wrapping_add(1).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ n << 40,
    }
}

fn see(table: &mut Table, n: u64) -> Option<u64> {
    table.begin();
    table.work(
        key(n),
        None,
        None,
        Some(|| Counter::new(Window::new(0, false))),
        |counter| {
            counter.events += 1;
            (counter.events, true)
        },
    )
}

#[test]
fn a_million_strangers_do_not_push_out_one_that_is_at_work() {
    let bound = 8 << 20;
    let mut table = Table::new(bound);
    let mut counted = 0;
    for n in 0..1_000_000 {
        see(&mut table, n);
        if n % 1000 == 0 {
            counted = see(&mut table, u64::MAX).unwrap_or(0).max(counted);
        }
        assert!(table.bytes() <= bound);
    }
    // It was there from the first; all of its thousand are counted.
    assert_eq!(counted, 1000);
    assert!(table.turnover().refused > 900_000);
}

#[test]
fn who_comes_to_a_full_table_is_admitted_when_seen_often() {
    let mut table = Table::new(1 << 20);
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
    let of = |correlation: u16, n: u64| Key {
        correlation,
        ..key(n)
    };
    let mut table = Table::new(1 << 20);
    let mut see = |key: Key, by: u64| {
        let make = || Counter::new(Window::new(0, false));
        table.work(key, None, None, Some(make), |c| {
            c.events += by;
            ((), true)
        });
    };
    for n in 0..300 {
        see(of((n % 3) as u16, n), n);
    }
    // 0 is gone, 1 and 2 change places.
    table.renumber(|number| (number != 0).then(|| 3 - number));
    assert_eq!(table.len(), 200);
    for n in 0..300 {
        let events = |t: &mut Table, number| t.get_mut(of(number, n)).map(|c| c.events);
        for number in 0..3 {
            let expected = (n % 3 != 0 && number == 3 - (n % 3) as u16).then_some(n);
            assert_eq!(events(&mut table, number), expected, "{n} {number}");
        }
    }
    table.renumber(|_| None);
    assert_eq!((table.len(), table.bytes()), (0, 0));
}

#[test]
fn what_is_put_back_goes_in_the_order_of_its_worth() {
    let mut table = Table::new(1 << 20);
    let counter = || Counter::new(Window::new(0, false));
    // The first is worth most.
    let restored = (0..100_000).take_while(|n| table.restore(key(*n), counter()));
    let restored = restored.count() as u64;
    assert!((1000..100_000).contains(&restored), "{restored}");
    assert!(see(&mut table, 5).is_some(), "used now");
    for _ in 0..restored - 2 {
        table.evict(NONE);
    }
    assert_eq!(table.len(), 2);
    assert!(table.get_mut(key(0)).is_some() && table.get_mut(key(5)).is_some());
}

#[test]
fn what_is_over_is_swept() {
    let mut table = Table::new(1 << 20);
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
    for n in 0..100 {
        table.remove(key(n));
    }
    assert_eq!((table.len(), table.bytes()), (0, 0));
}

#[test]
fn a_slot_is_kept_in_mind_for_its_key_alone_and_not_if_its_number_is_too_long() {
    for at in [0, 1, 77, 0x00ff_ffff] {
        for n in 0..1000 {
            assert_eq!(Recent::new(key(n), at).slot(key(n)), Some(at));
        }
        let others = (1..1000).filter(|n| Recent::new(key(0), at).slot(key(*n)).is_some());
        assert!(others.count() < 20);
    }
    for at in [0x0100_0000, NONE] {
        let slots = (0..1000).filter_map(|n| Recent::new(key(n), at).slot(key(n)));
        assert!(slots.into_iter().all(|at| at == 0x00ff_ffff));
    }
}
