use super::*;
use crate::sink::failing::News;

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

#[test]
fn what_is_moved_or_removed_is_opened_anew_and_what_is_emptied_has_no_hole() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.json");
    let moved = folder.path().join("events.json.1");
    fs::write(&path, "before\n").expect("written");
    let mut log = LogFile::open(&path, Before::Stays, None).expect("open");
    let write = |log: &mut LogFile, line: &str| {
        log.look = Instant::now();
        log.write_all(line.as_bytes()).expect("written");
    };
    write(&mut log, "1\n");
    fs::rename(&path, &moved).expect("moved");
    write(&mut log, "2\n");
    assert_eq!((&*read(&moved), &*read(&path)), ("before\n1\n", "2\n"));
    write(&mut log, "2 and");
    fs::rename(&path, &moved).expect("moved");
    write(&mut log, " its rest\n");
    assert_eq!(read(&moved), "2\n2 and its rest\n");
    write(&mut log, "3\n");
    assert_eq!(read(&path), "3\n");
    File::create(&path).expect("emptied");
    write(&mut log, "4\n");
    assert_eq!(read(&path), "4\n");
}

/// What went into an unlinked file, or one that was moved and may be deleted, would be lost in silence.
#[test]
fn nothing_is_written_where_a_file_that_went_cannot_be_opened_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("inside");
    let path = inside.join("events.json");
    let aside = folder.path().join("aside");
    let gone: [fn(&Path, &Path, &Path); 3] = [
        |inside, _, _| fs::remove_dir_all(inside).expect("removed"),
        |_, path, _| {
            fs::remove_file(path).expect("removed");
            fs::create_dir(path).expect("in its place");
        },
        |inside, _, aside| fs::rename(inside, aside).expect("moved"),
    ];
    let mut rotation = Rotation { keep: 1, ..Rotation::default() };
    rotation.set("1K", |_| None).expect("a size");
    for (gone, rotation) in
        gone.iter().flat_map(|gone| [(gone, Rotation::default()), (gone, rotation)])
    {
        let _ = fs::remove_dir_all(&inside);
        let _ = fs::remove_dir_all(&aside);
        fs::create_dir(&inside).expect("made");
        let log = LogFile::open(&path, Before::Stays, None).expect("open");
        let mut log = log.rotating(rotation).expect("a file");
        log.write_all(b"1\n").expect("written");
        gone(&inside, &path, &aside);
        log.look = Instant::now();
        for _ in 0..3 {
            let error = log.write(b"2\n").expect_err("nowhere to write to");
            assert!(error.to_string().starts_with("cannot reopen the file: "), "{error}");
        }
        let _ = fs::remove_dir(&path);
        fs::create_dir_all(&inside).expect("back");
        log.write_all(b"2\n").expect("written");
        assert_eq!(read(&path), "2\n");
        if aside.exists() {
            assert_eq!(read(&aside.join("events.json")), "1\n");
        }
    }
}

/// A disk without room for the rest of a line: what makes room takes the line with it.
#[test]
fn where_the_rest_of_a_line_finds_no_room_a_file_that_went_is_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.json");
    let gone = [
        |path: &Path| fs::remove_file(path).expect("removed"),
        |path: &Path| drop(File::create(path).expect("emptied")),
    ];
    for gone in gone {
        let mut log = LogFile::open(&path, Before::Goes, None).expect("open");
        log.write_all(b"1\n2 and").expect("written");
        (log.failed, log.look) = (true, Instant::now());
        gone(&path);
        log.write_all(b" its rest\n3\n").expect("written");
        assert_eq!(read(&path), "3\n");
        log.write_all(b"4\n").expect("written");
        assert_eq!(read(&path), "3\n4\n");
    }
}

/// Every line is in one file, whole and in order, whatever logrotate does meanwhile.
#[test]
fn a_file_rotates_by_size_between_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.json");
    let numbered = |n: u32| folder.path().join(format!("events.json.{n}"));
    let mut rotation = Rotation { keep: 500, ..Rotation::default() };
    rotation.set("1K", |_| None).expect("a size");
    fs::write(&path, "before\n".repeat(100)).expect("written");
    let log = LogFile::open(&path, Before::Stays, None).expect("open");
    let log = log.headed(b"#head\n".to_vec()).expect("a head");
    let mut log = log.rotating(rotation).expect("a file");
    let mut all = String::new();
    for n in 0..3000 {
        let line = format!("{n} {}\n", "x".repeat(n % 97));
        all.push_str(&line);
        // In pieces, and several at once.
        let (one, two) = line.split_at(n % line.len());
        log.write_all(one.as_bytes()).expect("written");
        log.write_all(two.as_bytes()).expect("written");
        if n == 1000 {
            fs::rename(&path, folder.path().join("moved")).expect("moved");
            log.look = Instant::now();
        }
    }
    let many: String = (0..500).map(|n| format!("many {n}\n")).collect();
    all.push_str(&many);
    log.write_all(many.as_bytes()).expect("written");
    let long = format!("{}\n", "long".repeat(1000));
    all.push_str(&long);
    all.push_str("last\n");
    log.write_all(long.as_bytes()).expect("written");
    log.write_all(b"last\n").expect("written");
    let last = (1..).find(|n| !numbered(*n).exists()).expect("an end");
    let mut files: Vec<PathBuf> = (1..last).rev().map(numbered).collect();
    files.push(path);
    let mut lines: Vec<String> = Vec::new();
    for file in files.iter().chain([&folder.path().join("moved")]) {
        let text = read(file);
        // A line that came in pieces is not split where its first one fitted.
        assert!(text.len() <= 1024 + 100 || text.contains("long"), "{}", text.len());
        assert!(text.ends_with('\n'));
        let own = text.lines().filter(|line| *line != "#head" && *line != "before");
        lines.extend(own.map(str::to_owned));
    }
    let mut expected: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), expected.len(), "none lost, none twice");
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}

#[test]
fn a_file_rotates_by_age_and_so_many_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.json");
    let mut rotation = Rotation { keep: 2, ..Rotation::default() };
    rotation.set("1h", |_| Some(3_600_000_000_000)).expect("an age");
    let log = LogFile::open(&path, Before::Stays, None).expect("open");
    let mut log = log.rotating(rotation).expect("a file");
    for n in 0..5 {
        log.write_all(format!("{n}\n{n}\n").as_bytes()).expect("written");
        log.write_all(format!("{n}\n").as_bytes()).expect("written");
        log.made -= Duration::from_secs(3601);
    }
    let numbered = |n: &str| read(&folder.path().join(format!("events.json{n}")));
    assert_eq!(
        [numbered(""), numbered(".1"), numbered(".2")],
        ["4\n4\n4\n", "3\n3\n3\n", "2\n2\n2\n"]
    );
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3);
    // Where it cannot be moved, it grows, and nothing is lost.
    fs::remove_file(folder.path().join("events.json.1")).expect("removed");
    fs::create_dir(folder.path().join("events.json.1")).expect("made");
    fs::write(folder.path().join("events.json.1").join("x"), "").expect("written");
    fs::remove_file(folder.path().join("events.json.2")).expect("removed");
    fs::write(folder.path().join("events.json.2"), "theirs").expect("written");
    log.write_all(b"5\n").expect("written");
    log.write_all(b"6\n").expect("written");
    let rotates = Arc::clone(&log.rotates);
    let news = || lock(&rotates).news();
    let name = folder.path().join("events.json.2").display().to_string();
    assert!(matches!(news(), Some(News::Fails(why)) if why.starts_with(&name)));
    log.rotate_again = Instant::now();
    log.write_all(b"7\n").expect("written");
    assert_eq!(news(), None, "told once");
    let all: String = ["", ".1", ".2"]
        .iter()
        .filter_map(|n| fs::read_to_string(folder.path().join(format!("events.json{n}"))).ok())
        .collect();
    assert!(all.contains("5\n6\n"), "{all}");
    {
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("linked");
        let log = LogFile::open(&link, Before::Stays, None).expect("open");
        assert!(log.rotating(rotation).is_err());
    }
    for text in ["0M", "M", "1x", "-1M", "99999999999G"] {
        assert!(Rotation::default().set(text, |_| None).is_none(), "{text}");
    }
    let mut sizes = Rotation::default();
    sizes.set("100MiB", |_| None).expect("a size");
    assert_eq!(sizes.bytes, Some(100 << 20));
}

#[test]
fn what_a_file_holds_stays_or_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.json");
    for (before, expected) in
        [(Before::Stays, "1\n"), (Before::Stays, "1\n1\n"), (Before::Goes, "1\n")]
    {
        let mut log = LogFile::open(&path, before, None).expect("open");
        log.write_all(b"1\n").expect("written");
        assert_eq!(read(&path), expected);
    }
    {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let link = folder.path().join("link");
        symlink(&path, &link).expect("linked");
        let refused = LogFile::open(&link, Before::Goes, None).expect_err("a link");
        assert!(refused.to_string().contains("which would be emptied"));
        assert_eq!(read(&path), "1\n");
        LogFile::open(&link, Before::Stays, None).expect("appended to");
    }
    let mut null = LogFile::open(Path::new("/dev/null"), Before::Goes, None).expect("open");
    null.write_all(b"1\n").expect("written");
    assert!(LogFile::open(folder.path(), Before::Goes, None).is_err());
}

#[test]
fn an_incomplete_last_line_is_ended_before_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.json");
    for (held, expected) in [
        ("", "#head\n1\n2\n"),
        ("a\n", "a\n1\n2\n"),
        ("a\n{\"cut", "a\n{\"cut\n1\n2\n"),
        ("#he", "#he\n1\n2\n"),
    ] {
        fs::write(&path, held).expect("written");
        let log = LogFile::open(&path, Before::Stays, None).expect("open");
        let mut log = log.headed(b"#head\n".to_vec()).expect("a head");
        log.write_all(b"1\n2\n").expect("written");
        assert_eq!(read(&path), expected, "{held:?}");
        // The same for a file that takes its place during the run.
        fs::remove_file(&path).expect("removed");
        fs::write(&path, held).expect("written");
        log.look = Instant::now();
        log.write_all(b"1\n2\n").expect("written");
        assert_eq!(read(&path), expected, "{held:?} in its place");
        // Not for what replaces the content or is emptied meanwhile.
        for before in [Before::Goes, Before::Stays] {
            fs::write(&path, held).expect("written");
            let mut log = LogFile::open(&path, before, None).expect("open");
            File::create(&path).expect("emptied");
            log.look = Instant::now();
            log.write_all(b"1\n").expect("written");
            assert_eq!(read(&path), "1\n", "{held:?} {before:?}");
        }
    }
}

#[test]
fn a_file_gets_the_mode_that_was_asked_for_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    for (mode, expected) in [(None, 0o600), (Some(0o640), 0o640), (Some(0o664), 0o664)] {
        let path = folder.path().join(expected.to_string());
        let mut log = LogFile::open(&path, Before::Stays, mode).expect("open");
        let is = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(is(), expected);
        // The next one, too, but not what somebody else made.
        fs::remove_file(&path).expect("removed");
        log.look = Instant::now();
        log.write_all(b"1\n").expect("written");
        assert_eq!(is(), expected);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("set");
        LogFile::open(&path, Before::Stays, mode).expect("open");
        assert_eq!(is(), 0o604);
    }
}

#[cfg(feature = "live")]
#[test]
fn a_named_pipe_blocks_nothing_and_each_reader_gets_whole_lines() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::io::Read as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
    let mut log = LogFile::open(&path, Before::Stays, None).expect("open");
    for _ in 0..2 {
        let error = log.write(b"1\n").expect_err("nobody reads");
        assert!(is_unread(&error), "{error}");
    }
    let reader = || {
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        options.read(true).open(&path).expect("a reader")
    };
    let mut got = [0; 99];
    let mut first = reader();
    log.write_all(b"1\n2 and").expect("written");
    assert_eq!(first.read(&mut got).expect("read"), 7);
    drop(first);
    assert!(is_unread(&log.write(b" its rest\n3\n").expect_err("gone")));
    let mut second = reader();
    log.write_all(b" its rest\n3\n").expect("written");
    let n = second.read(&mut got).expect("read");
    assert_eq!(&got[..n], b"3\n");
}
