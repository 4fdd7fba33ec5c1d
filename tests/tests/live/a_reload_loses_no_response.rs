//! A reload under load, by SIGHUP or of files that changed: settings and rules change at once, a faulty file changes
//! nothing, and every response is reported once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{log_differences, nothing, server_v4};
use http_trace_tests::client::{Raw, curl};
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::Nginx;
use rustix::process::Signal;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const SOON: Duration = Duration::from_secs(30);

/// Asks on one connection, and says how often.
fn ask_until(done: &AtomicBool, client: &Namespace) -> usize {
    let mut client = Raw::connect(client, server_v4(80)).expect("connected");
    let mut asked = 0;
    while !done.load(Ordering::Relaxed) {
        client.send(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(client.receive().expect("an answer").status, 200);
        asked += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    asked
}

#[test]
fn ten_times_under_load() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let (file, rule) = (folder.path().join("c.toml"), folder.path().join("rule.yml"));
    let rules = format!("rules = '{}'\n", rule.display());
    let set = |more: &str| fs::write(&file, format!("{rules}{more}")).expect("settings");
    let rules_of = |status: u16| {
        let text = format!(
            "title: it\nname: it\nlevel: high\nlogsource: {{category: webserver}}\n\
             detection: {{s: {{sc-status: {status}}}, condition: s}}\n"
        );
        fs::write(&rule, text).expect("a rule");
    };
    set("");
    rules_of(500);
    let settings = file.to_str().expect("UTF-8");
    let mut agent = Agent::start(&pair.server, &["--config", settings]).expect("the agent");
    let url = |name: &str| format!("http://{}/{name}", address::SERVER_V4);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| ask_until(&done, &pair.client));
        for n in 1..=10 {
            // Other settings and other rules each time.
            let (more, expected) = match n % 5 {
                0 => ("stauts = 1".to_owned(), "unknown key 'stauts'".to_owned()),
                1 => ("hook = 'cgroup'".to_owned(), "restart to change hook".to_owned()),
                _ => (
                    format!("redact-headers = ['x-{n}']"),
                    "settings reloaded: redact-headers changed".to_owned(),
                ),
            };
            set(&more);
            rules_of(500 + n);
            agent.signal(Signal::HUP).expect("a signal");
            let done = agent.wait_for_lines("rules reloaded: ", usize::from(n), SOON);
            assert!(done && agent.wait_for_line(&expected, SOON), "{n}: {expected}");
            std::thread::sleep(Duration::from_millis(200));
        }
        done.store(true, Ordering::Relaxed);
        let requests = load.join().expect("requests");
        // The output filter changes next: wait for responses that are still being read.
        agent.wait_for(requests, SOON).expect("events");
    });
    // The last file is in effect: a rule for 404, and the output filter.
    set("status = '4xx'");
    rules_of(404);
    agent.signal(Signal::HUP).expect("a signal");
    assert!(agent.wait_for_line("settings reloaded: status", SOON));
    for name in ["nowhere", "small.txt?last"] {
        curl(&pair.client, &[&url(name)]).expect("curl");
        std::thread::sleep(Duration::from_millis(500));
    }
    // What that filter left out is not told of the next.
    set("status = '404'");
    agent.signal(Signal::HUP).expect("a signal");
    assert!(agent.wait_for_lines("settings reloaded: status", 2, SOON));
    let outcome = agent.stop().expect("the agent's end");
    outcome.check_clean();
    let mut log = nginx.stop().expect("an access log");
    assert!(log.len() > 500, "{} requests are no load", log.len());
    // Its status is not among those written then.
    log.retain(|line| !line.target.ends_with("?last"));
    nothing(log_differences(&outcome.report, &log));
    let mut alerts = outcome.report.alerts.iter();
    assert!(alerts.any(|alert| alert["rule"]["id"] == "it"));
    let reloads = outcome.said.iter().filter(|line| line.contains("rules reloaded: "));
    // The last changed no rule.
    assert_eq!(reloads.count(), 11, "{:?}", outcome.said);
    let left_out = |line: &&String| line.contains(" 1 left out by ");
    let left_out = outcome.said.iter().find(left_out).expect("what was left out");
    assert!(left_out.ends_with("status 4xx before a reload"), "{left_out}");
    println!("{} responses over 12 reloads", log.len());
}

/// A ConfigMap as kubelet mounts it: files are links through `..data`, which is replaced.
#[test]
fn of_a_config_map_that_is_updated() {
    needs!("nginx");
    let pair = Pair::new(1500).expect("a pair");
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let update = |version: &str, settings: &str, status: u16| {
        let new = at(&format!("..{version}"));
        fs::create_dir(&new).expect("a folder");
        fs::write(new.join("http-trace.toml"), settings).expect("settings");
        let rule = format!(
            "title: it\nname: it\nlevel: high\nlogsource: {{category: webserver}}\n\
             detection: {{s: {{sc-status: {status}}}, condition: s}}\n"
        );
        fs::write(new.join("it.yml"), rule).expect("a rule");
        symlink(&new, at("..data_tmp")).expect("a link");
        fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
    };
    update("1", "", 500);
    for name in ["http-trace.toml", "it.yml"] {
        symlink(Path::new("..data").join(name), at(name)).expect("a link");
    }
    let (settings, rules) = (at("http-trace.toml"), folder.path());
    let [settings, rules] = [settings.as_path(), rules].map(|path| path.to_str().expect("UTF-8"));
    let options = ["--watch-config", "--config", settings, "--rules", rules];
    let mut agent = Agent::start(&pair.server, &options).expect("the agent");
    let done = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let load = scope.spawn(|| ask_until(&done, &pair.client));
        for (version, settings, expected) in [
            ("2", "redact-headers = ['x-a']", "settings reloaded: redact-headers changed"),
            ("3", "stauts = 1", "unknown key 'stauts'"),
            ("4", "redact-headers = ['x-b']\nhook = 'cgroup'", "restart to change hook"),
        ] {
            update(version, settings, 500 + version.parse::<u16>().expect("a number"));
            assert!(agent.wait_for_line(expected, SOON), "{version}");
        }
        update("5", "", 200);
        assert!(agent.wait_for_lines("rules reloaded: ", 4, SOON));
        std::thread::sleep(Duration::from_millis(500));
        done.store(true, Ordering::Relaxed);
        load.join().expect("requests")
    });
    agent.wait_for(asked, SOON).expect("events");
    let outcome = agent.stop().expect("the agent's end");
    outcome.check_clean();
    nothing(log_differences(&outcome.report, &nginx.stop().expect("an access log")));
    assert!(outcome.report.alerts.iter().any(|alert| alert["rule"]["id"] == "it"));
    let reloads = outcome.said.iter().filter(|line| line.contains("rules reloaded: "));
    assert_eq!(reloads.count(), 4, "{:?}", outcome.said);
    // A rule file that is there twice would be said.
    assert!(!outcome.said.iter().any(|line| line.contains("it.yml")), "{:?}", outcome.said);
}
