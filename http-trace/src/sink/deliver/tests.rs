//! Each destination, reached and out of reach.

use std::io::Read;
#[cfg(feature = "live")]
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};

use http_trace_detect::alert::State;

use super::*;
use crate::sink::failing::next;

pub(super) fn notice(message: &str) -> Notice {
    Notice {
        line: format!("{{\"message\":\"{}\"}}\n", message.escape_default()).into_bytes(),
        message: message.to_owned(),
        id: 0xab,
        state: State::Opened,
        rule: "r".to_owned(),
        severity: 3,
        time_ns: http_trace_samples::TIME_NS,
    }
}

fn start(text: &str) -> Delivery {
    let target: Target = text.parse().expect(text);
    Delivery::start(&target, &OwnSockets::default()).expect(text)
}

const LONG: Duration = Duration::from_secs(60);

/// All delivered, none lost.
fn all(count: u64) -> Delivered {
    Delivered { delivered: count, ..Delivered::default() }
}

#[test]
fn a_file_is_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("alerts.jsonl");
    std::fs::write(&path, "before\n").expect("written");
    let delivery = start(&format!("file:{}", path.display()));
    delivery.send(notice("one"));
    delivery.send(notice("two"));
    assert_eq!(delivery.close_within(LONG), all(2));
    assert_eq!(
        std::fs::read_to_string(&path).expect("read"),
        "before\n{\"message\":\"one\"}\n{\"message\":\"two\"}\n"
    );
    let missing: Target = "file:/nowhere/at/all".parse().expect("a target");
    let error = Delivery::start(&missing, &OwnSockets::default()).expect_err("no such folder");
    assert!(error.to_string().starts_with("/nowhere/at/all: "), "{error}");
}

/// A destination that fails as often as it says, then works.
struct Failing {
    times: u32,
    is_passing: bool,
}

impl Carrier for Failing {
    fn carry(&mut self, _: &Notice) -> Result<(), Failure> {
        if self.times == 0 {
            return Ok(());
        }
        self.times -= 1;
        Err(match self.is_passing {
            true => Failure::passing("away"),
            false => Failure::lasting("refused"),
        })
    }
}

fn failing(times: u32, is_passing: bool) -> Delivery {
    let carrier = Box::new(Failing { times, is_passing });
    Delivery::of(Arc::default(), carrier, "x".to_owned()).expect("a thread")
}

#[test]
fn failures_are_told_while_it_runs() {
    let delivery = failing(1, false);
    delivery.send(notice("one"));
    assert_eq!(next(|| delivery.news()), News::Fails("refused".to_owned()));
    assert_eq!((delivery.news(), delivery.lost()), (None, 1));
    delivery.send(notice("two"));
    assert_eq!(next(|| delivery.news()), News::GoesOn);
    assert_eq!((delivery.news(), delivery.lost()), (None, 1));
}

/// The summary gives this reason for all that are lost.
#[test]
fn a_failure_that_was_overcome_is_no_reason_for_a_loss() {
    let delivery = failing(1, true);
    delivery.send(notice("one"));
    assert_eq!(delivery.close_within(LONG), all(1));
    let (delivery, begun) = (failing(1, false), Instant::now());
    delivery.send(notice("one"));
    delivery.send(notice("two"));
    while lock(&delivery.shared.state).told.delivered == 0 {
        assert!(begun.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(1));
    }
    let lost = Delivered { delivered: 1, lost: 1, failure: Some("refused".to_owned()) };
    assert_eq!(delivery.close_within(LONG), lost);
    // At the end some wait for one that is tried again.
    for failure in [None, Some("away".to_owned())] {
        let shared = Arc::<Shared>::default();
        let delivery = Delivery { name: "x".to_owned(), last_wait: LONG, shared };
        let mut state = lock(&delivery.shared.state);
        state.failing.error.clone_from(&failure);
        state.waiting.push_back(notice("late"));
        state.ended = true;
        drop(state);
        assert_eq!(delivery.close_within(LONG), Delivered { delivered: 0, lost: 1, failure });
    }
}

#[test]
fn the_end_of_a_run_allows_another_attempt() {
    // All at once: the thread ends when nothing waits.
    let closed = |delivery: Delivery, count| {
        let mut state = lock(&delivery.shared.state);
        state.closing = Some(Instant::now());
        state.waiting.extend((0..count).map(|_| notice("last")));
        delivery.shared.changed.notify_all();
        drop(state);
        delivery.close_within(LONG)
    };
    assert_eq!(closed(failing(LAST_RETRIES, true), 2).delivered, 2);
    // And not one for each of many.
    assert_eq!(closed(failing(u32::MAX, true), 100).lost, 100);
}

/// Whoever runs this: what root starts has all that the bounding set holds.
#[cfg(target_os = "linux")]
#[test]
fn a_command_has_no_capabilities_and_gets_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let delivery = start(&format!("command:sh -c 'cat /proc/self/status > {}'", out.display()));
    delivery.send(notice(""));
    assert_eq!(delivery.close_within(LONG), all(1));
    let status = std::fs::read_to_string(&out).expect("read");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(of(set), "0".repeat(16), "{set}");
    }
    assert_eq!(of("NoNewPrivs"), "1");
    let own = std::fs::read_to_string("/proc/self/status").expect("read");
    assert!(own.contains("NoNewPrivs:\t0"), "of that thread alone: {own}");
}

#[test]
fn a_command_gets_each_alert_and_only_one_runs_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (lock, out) = (folder.path().join("lock"), folder.path().join("out"));
    let script = format!(
        "mkdir {lock} || exit 9; cat >> {out}; echo \"$HTTP_TRACE_RULE $HTTP_TRACE_ALERT_STATE $HTTP_TRACE_SEVERITY\" >> {out}; rmdir {lock}",
        lock = lock.display(),
        out = out.display()
    );
    let delivery = start(&format!("command:sh -c '{script}'"));
    for n in 0..5 {
        delivery.send(notice(&n.to_string()));
    }
    assert_eq!(delivery.close_within(LONG), all(5));
    let text = std::fs::read_to_string(&out).expect("read");
    let expected: String =
        (0..5).map(|n| format!("{{\"message\":\"{n}\"}}\nr opened 3\n")).collect();
    assert_eq!(text, expected);
}

#[test]
fn commands_that_fail_hang_or_are_not_there_are_counted() {
    for (words, expected) in [
        (vec!["sh", "-c", "exit 3"], "sh: exit status: 3"),
        (vec!["sleep", "100"], "sleep: ended after 0 s"),
        (vec!["/no/such/program"], "/no/such/program: No such file"),
    ] {
        let words = words.into_iter().map(str::to_owned).collect();
        let carrier = command::Command::within(words, Duration::from_millis(50));
        let delivery =
            Delivery::of(Arc::default(), Box::new(carrier), "x".into()).expect("a thread");
        delivery.send(notice("a"));
        let told = delivery.close_within(LONG);
        assert_eq!((told.delivered, told.lost), (0, 1));
        let failure = told.failure.expect("why");
        assert!(failure.starts_with(expected), "{failure}");
    }
}

#[test]
fn a_program_that_hangs_does_not_outlive_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    let script = folder.path().join("hangs");
    let text = format!("#!/bin/sh\necho $$ >> {}\nexec sleep 100\n", file.display());
    std::fs::write(&script, text).expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&script, mode).expect("a mode");
    let delivery = start(&format!("command:{}", script.display()));
    for message in ["a", "b", "c"] {
        delivery.send(notice(message));
    }
    while !std::fs::read_to_string(&file).is_ok_and(|pids| pids.ends_with('\n')) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(delivery.close_within(Duration::from_millis(20)).lost, 3);
    let pids = std::fs::read_to_string(&file).expect("the process's id");
    let pid = pids.trim_end().to_owned();
    // The first is killed, and none follows.
    assert!(!pid.contains('\n') && !std::path::Path::new("/proc").join(&pid).exists(), "{pids}");
}

#[test]
fn a_program_gets_a_clean_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("environment");
    // A test has more of it: what cargo says.
    assert!(std::env::vars_os().any(|(name, _)| name.to_string_lossy().starts_with("CARGO")));
    let words = ["sh", "-c", &format!("env > {}", out.display())].map(str::to_owned);
    let carrier = command::Command::within(words.to_vec(), LONG);
    let delivery = Delivery::of(Arc::default(), Box::new(carrier), "x".into()).expect("a thread");
    delivery.send(notice("a"));
    assert_eq!(delivery.close_within(LONG).delivered, 1);
    let variables = std::fs::read_to_string(&out).expect("the environment");
    assert!(variables.contains("HTTP_TRACE_RULE=") && variables.contains("PATH="));
    assert!(!variables.contains("CARGO"), "{variables}");
}

#[test]
fn a_program_that_cannot_be_run_is_told_at_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str, mode: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        path.display().to_string()
    };
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let orphan = file("orphan", "#! /no/such/shell -e\n", 0o755);
    let windows = file("windows", "#!/bin/sh\r\n", 0o755);
    let here = folder.path().display().to_string();
    for (program, expected) in [
        ("/no/such/program", "there is no program /no/such/program; "),
        (&format!("{plain}/x"), &*format!("there is no program {plain}/x; ")),
        ("no-such-program", "no folder of PATH ("),
        (&plain, &format!("{plain} is not executable: chmod +x it")),
        (&here, &format!("{here} is no file, so no program")),
        (&orphan, &format!("{orphan} is to be run by \"/no/such/shell\",")),
        (&windows, &format!("{windows} is to be run by \"/bin/sh\\r\",")),
    ] {
        let target: Target = format!("command:{program} argument").parse().expect("good");
        let error = Delivery::start(&target, &OwnSockets::default()).expect_err(program);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
    let script = file("script", "#!/bin/sh\n", 0o755);
    for program in ["sh", "/bin/sh", &script] {
        start(&format!("command:{program}")).close();
    }
}

/// One HTTP request from the next connection: its first line and its body.
#[cfg(feature = "live")]
fn request(listener: &TcpListener, answer: &str) -> (String, String) {
    let (stream, _) = listener.accept().expect("a connection");
    let mut input = BufReader::new(stream);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    input.read_line(&mut first).expect("a line");
    loop {
        line.clear();
        input.read_line(&mut line).expect("a line");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body).expect("a body");
    let mut stream = input.into_inner();
    stream.write_all(answer.as_bytes()).expect("written");
    (first, String::from_utf8(body).expect("UTF-8"))
}

#[cfg(feature = "live")]
#[test]
fn a_webhook_is_posted_to_and_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let target: Target = format!("http://{address}/hook?key=1").parse().expect("a target");
    let delivery = Delivery::start(&target, &OwnSockets::default()).expect("a thread");
    delivery.send(notice("one"));
    delivery.send(notice("two"));
    let empty = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, message) in [("503 No", "one"), ("204 OK", "one"), ("200 OK", "two")] {
        let got = request(&listener, &format!("HTTP/1.1 {answer}\r\n{empty}"));
        let body = format!("{{\"message\":\"{message}\"}}");
        assert_eq!(got, ("POST /hook?key=1 HTTP/1.1\r\n".to_owned(), body));
    }
    let told = delivery.close_within(LONG);
    assert_eq!((told.delivered, told.lost), (2, 0));
}

#[cfg(feature = "live")]
#[test]
fn a_webhook_that_hangs_or_refuses_holds_nobody_up_and_is_counted() {
    // Accepts nothing, so that the answer never comes.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let carrier = webhook::Webhook::new(url, OwnSockets::default(), Duration::from_millis(100));
    let hanging = Delivery::of(Arc::default(), Box::new(carrier), "x".into()).expect("a thread");
    let count = 3 * MOST_WAITING as u64;
    for _ in 0..count {
        hanging.send(notice("a"));
    }
    let told = hanging.close_within(Duration::from_millis(10));
    assert_eq!((told.delivered, told.lost), (0, count));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let refusing = start(&url);
    refusing.send(notice("last"));
    request(&listener, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let told = refusing.close_within(LONG);
    assert_eq!((told.delivered, told.lost), (0, 1));
    assert_eq!(told.failure.as_deref(), Some("answered 403 Forbidden"));
}

/// What a receiver of webhooks says after a status of success changes nothing, and is read within bounds.
#[cfg(feature = "live")]
#[test]
fn a_webhook_whose_answer_does_not_end_has_accepted() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    for (head, flood) in [("", true), ("", false), ("Content-Length: 3\r\n\r\nok\n", false)] {
        let end = if head.is_empty() { "\r\n" } else { "" };
        let answer = format!("HTTP/1.1 200 OK\r\n{head}{end}");
        let patience = Duration::from_millis(300);
        let carrier = webhook::Webhook::new(url.clone(), OwnSockets::default(), patience);
        let delivery =
            Delivery::of(Arc::default(), Box::new(carrier), "x".into()).expect("a thread");
        delivery.send(notice("a"));
        let (stream, _) = listener.accept().expect("a connection");
        let told = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut stream = &stream;
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(answer.as_bytes());
                while flood && stream.write_all(&[b' '; 4096]).is_ok() {}
                let _ = stream.read(&mut [0; 4096]);
            });
            delivery.close_within(LONG)
        });
        assert_eq!((told.delivered, told.lost), (1, 0), "{told:?}");
    }
}

#[test]
fn datagrams_of_which_a_refusal_comes_later_are_counted_as_lost() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let delivery = start(&format!("syslog:udp://{}", socket.local_addr().expect("an address")));
    let send = |count| {
        delivery.send(notice("x"));
        while lock(&delivery.shared.state).told.delivered < count {
            std::thread::yield_now();
        }
    };
    send(1);
    drop(socket);
    send(2);
    // A busy machine takes its time for the refusal.
    std::thread::sleep(Duration::from_millis(500));
    delivery.send(notice("three"));
    let told = delivery.close_within(LONG);
    assert_eq!((told.delivered, told.lost), (1, 2), "{told:?}");
    assert!(told.failure.is_some_and(|why| why.contains("refused")));
}

#[test]
fn syslog_by_datagram_and_by_stream() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let delivery = start(&format!("syslog:udp://{}", socket.local_addr().expect("an address")));
    delivery.send(notice(&"x".repeat(5000)));
    let mut bytes = [0; 8192];
    let length = socket.recv(&mut bytes).expect("a datagram");
    assert_eq!(length, 2048);
    assert!(bytes.starts_with(b"<85>1 2026-11-20T06:40:07.123456Z "));
    assert_eq!(delivery.close_within(LONG), all(1));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let delivery = start(&format!("syslog:tcp://{}", listener.local_addr().expect("an address")));
    delivery.send(notice("one"));
    delivery.send(notice("two"));
    let (mut stream, _) = listener.accept().expect("a connection");
    assert_eq!(delivery.close_within(LONG), all(2));
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    for message in ["one", "two"] {
        let (length, rest) = text.split_once(' ').expect("a length");
        let (one, rest) = rest.split_at(length.parse().expect("a number"));
        assert!(one.starts_with("<85>1 ") && one.ends_with(message), "{one}");
        text = rest.to_owned();
    }
    assert_eq!(text, "");
}

#[test]
fn what_waits_at_the_end_has_the_time_that_is_promised() {
    for (target, expected) in [("command:/bin/true", 30), ("syslog", 5)] {
        let target: Target = target.parse().expect("good");
        let delivery = Delivery::start(&target, &OwnSockets::default()).expect("a thread");
        assert_eq!(delivery.last_wait, Duration::from_secs(expected), "{target}");
        delivery.close();
    }
}

#[cfg(feature = "live")]
#[test]
fn what_a_command_started_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("started");
    let script = format!("sleep 1000 & echo $! > {}; wait", out.display());
    let words = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let carrier = command::Command::within(words, Duration::from_secs(2));
    let delivery = Delivery::of(Arc::default(), Box::new(carrier), "x".into()).expect("a thread");
    delivery.send(notice("a"));
    assert_eq!(delivery.close_within(LONG).lost, 1);
    let started = std::fs::read_to_string(&out).expect("a process");
    let started: i32 = started.trim().parse().expect("a number");
    let pid = rustix::process::Pid::from_raw(started).expect("a process");
    // Whoever takes in orphans may take a moment to bury it.
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        rustix::process::test_kill_process(pid).is_err()
            || std::fs::read_to_string(format!("/proc/{started}/stat"))
                .is_ok_and(|stat| stat.contains(") Z "))
    });
    assert!(gone, "{started}");
}

/// A pipe that is full takes a part of a line. What it did not take follows, and a line that is given up is
/// ended before the next one.
#[test]
fn what_a_full_pipe_did_not_take_follows() {
    /// Takes so many bytes, then none.
    struct Pipe(Vec<u8>, usize);
    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.1);
            self.1 -= n;
            self.0.extend_from_slice(&bytes[..n]);
            match n {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                n => Ok(n),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut lines = Lines::new(Pipe(Vec::new(), 7));
    assert!(lines.carry(&notice("one")).is_err_and(|f| f.passing));
    assert!(lines.carry(&notice("one")).is_err_and(|f| f.passing));
    lines.to.1 = 11;
    lines.carry(&notice("one")).expect("room");
    // Given up with nothing written, and in its middle.
    assert!(lines.carry(&notice("two")).is_err());
    lines.to.1 = 4;
    assert!(lines.carry(&notice("three")).is_err());
    lines.to.1 = 100;
    lines.carry(&notice("four")).expect("room");
    let lines_of = |text: &str| notice(text).line;
    let wanted = ["one", "three", "four"].map(lines_of).concat();
    assert_eq!(String::from_utf8_lossy(&lines.to.0), String::from_utf8_lossy(&wanted));
}
