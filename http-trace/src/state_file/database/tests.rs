use super::*;
use http_trace_report::tally::Tally;

const BOUNDS: Bounds = Bounds { days: 90, bytes: 1 << 30 };

fn row(day: u32, path: &str, hits: u64) -> (Key, Value) {
    let key = Key {
        day,
        kind: Kind::Endpoint,
        service: "a.example".to_owned(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        referrer: String::new(),
    };
    let at = u64::from(day) * http_trace_report::kept::DAY_NS + hits;
    let mut tally = Tally::known(at, at);
    tally.hits = hits;
    (key, Value::Tally(Box::new(tally)))
}

fn put(database: &mut Database, rows: impl IntoIterator<Item = (Key, Value)>, bounds: Bounds) {
    let rows = rows.into_iter().collect();
    database.add(&rows, bounds, 20_000).expect("written");
}

fn hits(path: &Path) -> Vec<(u32, String, u64)> {
    let database = Database::read(path).expect("read").expect("there");
    let mut all = Vec::new();
    let each = |key: Key, value| {
        let Value::Tally(tally) = value else { panic!("{key:?}") };
        all.push((key.day, key.path, tally.hits));
    };
    database.all(each).expect("read");
    all
}

#[test]
fn what_is_added_is_there_while_it_is_open_and_after() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    assert!(Database::read(&path).expect("none").is_none());
    let mut database = Database::open(&path).expect("made");
    put(&mut database, [row(3, "/a", 1), row(3, "/b", 2)], BOUNDS);
    put(&mut database, [row(3, "/a", 10), row(4, "/a", 20)], BOUNDS);
    let expected = [(3, "/a", 11), (3, "/b", 2), (4, "/a", 20)];
    let expected = expected.map(|(day, path, hits)| (day, path.to_owned(), hits));
    assert_eq!(hits(&path), expected);
    drop(database);
    assert_eq!(hits(&path), expected);
    let mut known = Vec::new();
    let database = Database::open(&path).expect("opened");
    let each = |key: Key, first, last| known.push((key.path, first, last));
    database.known(each).expect("read");
    let day = http_trace_report::kept::DAY_NS;
    assert_eq!(
        known,
        [("/a".to_owned(), 3 * day + 1, 4 * day + 20), ("/b".to_owned(), 3 * day + 2, 3 * day + 2)]
    );
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "nothing else is left");
}

#[test]
fn what_is_old_goes_and_then_what_is_too_much() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let mut database = Database::open(&path).expect("made");
    let bounds = |days, bytes| Bounds { days, bytes };
    put(&mut database, [row(100, "/old", 1), row(130, "/b", 1)], bounds(30, 1 << 30));
    assert_eq!(hits(&path).len(), 2);
    put(&mut database, [row(131, "/c", 1)], bounds(30, 1 << 30));
    assert_eq!(hits(&path).len(), 2, "one is 31 days old");
    // A day in the future does not make others expire.
    put(&mut database, [row(200_000, "/later", 1)], bounds(30_000, 1 << 30));
    assert_eq!(hits(&path).len(), 3);
    let many = (0..2000).map(|n| row(132, &format!("/{n}/{}", "x".repeat(100)), n));
    put(&mut database, many, bounds(30_000, 200_000));
    let left = hits(&path);
    assert!((100..1500).contains(&left.len()), "{}", left.len());
    assert!(left.iter().all(|(day, ..)| *day > 131), "the oldest went first");
    assert!(size(&database.connection).expect("a size") <= 200_000);
    let of_file = || fs::metadata(&path).expect("there").len();
    assert!(of_file() <= 200_000, "{}", of_file());
    put(&mut database, [row(132, "/one more", 1)], bounds(30_000, 65_536));
    assert!(of_file() <= 65_536, "a lower limit: {}", of_file());
}

#[test]
fn what_cannot_be_made_leaves_nothing_beside() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    fs::create_dir(&path).expect("made");
    assert!(make(&path).is_err());
    assert!(!taken::beside(&path).exists());
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let theirs = folder.path().join("theirs");
    let foreign = Connection::open(&theirs).expect("made");
    foreign.execute("CREATE TABLE t (x)", []).expect("made");
    drop(foreign);
    let sqlite = fs::read(&theirs).expect("read");
    for bytes in [&b"{\"a\":1}\n"[..], b"SQLite format 3\0", &sqlite] {
        fs::write(&path, bytes).expect("written");
        for why in [Database::open(&path).map(drop), Database::read(&path).map(drop)] {
            let why = why.expect_err("not ours");
            assert!(matches!(why, Useless::NotOurs) && !why.is_movable(), "{why}");
        }
        assert_eq!(fs::read(&path).expect("read"), bytes);
    }
    fs::remove_file(&path).expect("removed");
    {
        use std::os::unix::fs::symlink;
        Database::open(&folder.path().join("real")).expect("made");
        symlink(folder.path().join("real"), &path).expect("linked");
        for why in [Database::open(&path).map(drop), Database::read(&path).map(drop)] {
            assert!(matches!(why, Err(Useless::File(Unusable::NotAFile))), "{why:?}");
        }
    }
}

/// Unusable databases, and whether they can be moved aside.
#[test]
fn what_lies_is_told_and_can_be_moved_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let change = |sql: &str| {
        let connection = Connection::open(&path).expect("opened");
        connection.execute_batch(sql).expect("changed");
    };
    type Spoil<'a> = &'a dyn Fn();
    let cut = || {
        let bytes = fs::read(&path).expect("read");
        fs::write(&path, &bytes[..bytes.len() / 2 + 100]).expect("written");
    };
    let noise = || {
        let mut bytes = fs::read(&path).expect("read");
        for at in (4096..bytes.len()).step_by(3) {
            bytes[at] ^= 0xa5;
        }
        fs::write(&path, bytes).expect("written");
    };
    let table: [(&str, Spoil<'_>, &str); 5] = [
        ("version", &|| change("PRAGMA user_version = 7"), "version 7"),
        ("view", &|| change("DROP TABLE kept; CREATE VIEW kept AS SELECT 1"), "no inventory table"),
        (
            "trigger",
            &|| change("CREATE TRIGGER t AFTER INSERT ON kept BEGIN DELETE FROM kept; END"),
            "no inventory table",
        ),
        ("cut", &cut, "malformed"),
        ("noise", &noise, "malformed"),
    ];
    for (number, (name, spoil, expected)) in (0..).zip(table) {
        let mut database = Database::open(&path).expect("made");
        put(&mut database, (0..500).map(|n| row(5, &format!("/{n}"), 1)), BOUNDS);
        drop(database);
        spoil();
        let read = Database::read(&path)
            .and_then(|read| read.expect("there").all(|_, _| {}).map_err(Into::into));
        let why = read.expect_err(name);
        assert!(why.to_string().contains(expected) && why.is_movable(), "{name}: {why}");
        let spoilt = fs::read(&path).expect("read");
        let aside = move_aside(&path).expect("moved");
        assert_eq!(fs::read(&aside).expect("read"), spoilt, "{name}: nothing is lost");
        let bads = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(bads, number + 1, "{name}");
    }
    // Invalid rows are skipped or replaced.
    let mut database = Database::open(&path).expect("made");
    put(&mut database, [row(5, "/a", 1)], BOUNDS);
    drop(database);
    change(
        "INSERT INTO kept VALUES (-1,'endpoint','','','','',0,0,'x'), (4,'?','','','','',0,-9,''),
         (5,'endpoint','a','b','c','',0,0,'{\"hits\":-1}'), (5,'total','','','','',0,0,'7');
         UPDATE kept SET value = 'not JSON' WHERE path = '/a'",
    );
    assert_eq!(hits(&path), []);
    let mut database = Database::open(&path).expect("opened");
    database.known(|_, _, _| {}).expect("read");
    put(&mut database, [row(5, "/a", 2)], BOUNDS);
    assert_eq!(hits(&path), [(5, "/a".to_owned(), 2)]);
    // A day out of range.
    change("UPDATE kept SET day = 99999999999 WHERE path = '/a'");
    let why = database.add(&[row(5, "/a", 2)].into(), BOUNDS, 20_000);
    let why = Useless::from(why.expect_err("no day"));
    assert!(why.is_movable(), "{why}");
}

#[test]
fn what_was_left_half_done_is_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, copy) = (folder.path().join("db"), folder.path().join("copy"));
    let mut database = Database::open(&path).expect("made");
    put(&mut database, (0..2000).map(|n| row(5, &format!("/{n}"), 1)), BOUNDS);
    // As left by a killed run: pages already written, and the journal that rolls them back.
    let connection = &database.connection;
    connection
        .execute_batch("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE; UPDATE kept SET value = '{\"hits\":9}'")
        .expect("begun");
    fs::copy(&path, &copy).expect("copied");
    fs::copy(journal(&path), journal(&copy)).expect("there is a journal");
    connection.execute_batch("ROLLBACK").expect("back");
    let all = hits(&copy);
    assert!(all.len() == 2000 && all.iter().all(|(.., hits)| *hits == 1));
    assert!(!journal(&copy).exists());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    /// With any bytes changed: a result or an error, no panic, and nothing is written.
    #[test]
    fn damage_is_an_error_or_nothing(changes in proptest::collection::vec((0_usize..40_960, 0_u8..), 1..40)) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("db");
        let mut database = Database::open(&path).expect("made");
        put(&mut database, (0..200).map(|n| row(5, &format!("/{n}"), 1)), BOUNDS);
        drop(database);
        let mut bytes = fs::read(&path).expect("read");
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        fs::write(&path, &bytes).expect("written");
        if let Ok(Some(database)) = Database::read(&path) {
            let _ = database.all(|_, _| {});
            let _ = database.known(|_, _, _| {});
        }
        proptest::prop_assert_eq!(fs::read(&path).expect("read"), bytes);
    }
}
