//! With `--ban-for`, nft blocks the client of an alert within a second, nobody else is blocked, and bans end:
//! by themselves, whatever happens to the agent, or when they are lifted.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use http_trace_tests::agent::{self, Agent};
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;
use serde_json::Value;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const SET: &str = "nft:http-trace/banned";
const ATTACKERS: [&str; 2] = ["10.77.0.66", "fd77::66"];
const ALLOWED: &str = "10.77.0.67";
const SOON: Duration = Duration::from_secs(1);

struct Site {
    pair: Pair,
    _nginx: Nginx,
}

impl Site {
    fn new() -> Self {
        let pair = Pair::new(1500).expect("a pair");
        for address in ["10.77.0.66/24", "10.77.0.67/24", "fd77::66/64 nodad"] {
            let (address, option) = address.split_once(' ').unwrap_or((address, ""));
            let add = format!("address add {address} dev veth0 {option}");
            pair.client.ip(&add).expect("an address");
        }
        let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
        Site { pair, _nginx: nginx }
    }

    fn agent(&self, options: &[&str]) -> Agent {
        Agent::start(&self.pair.server, options).expect("an agent")
    }

    /// The status of curl's first answer to this client; `None` if it cannot connect.
    fn ask(&self, client: &str, path: &str) -> Option<u16> {
        let url = match client.contains(':') {
            true => format!("http://[{}]{path}", address::SERVER_V6),
            false => format!("http://{}{path}", address::SERVER_V4),
        };
        let words = ["--interface", client, "-m", "0.4", "--path-as-is", &url];
        let seen = curl(&self.pair.client, &words).expect("curl");
        seen.first().map(|transfer| transfer.status).filter(|status| *status > 0)
    }

    /// Sends a scanner's requests.
    fn attack(&self, client: &str) {
        let url = match client.contains(':') {
            true => format!("http://[{}]", address::SERVER_V6),
            false => format!("http://{}", address::SERVER_V4),
        };
        let urls: Vec<String> = (0..40)
            .map(|n| format!("{url}/a{n}/..%2f..%2f..%2f..%2fetc/passwd?id=1'%20OR%201=1--%20{n}"))
            .collect();
        let mut words = vec!["--interface", client, "-m", "2", "--path-as-is"];
        words.extend(urls.iter().map(String::as_str));
        curl(&self.pair.client, &words).expect("curl");
    }

    /// Whether the client is blocked, or unblocked, within this time.
    fn turns(&self, client: &str, out: bool, within: Duration) -> bool {
        let end = Instant::now() + within;
        loop {
            if self.ask(client, "/index.html").is_none() == out {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
        }
    }

    fn bans(&self, words: &[&str]) -> Output {
        let mut command = Command::new(agent::binary().expect("a binary"));
        command.arg("bans").args(words).args(["--ban", SET]);
        let output = self.pair.server.enter(|| command.output()).expect("entered");
        output.expect("it runs")
    }
}

fn outcomes(alerts: &[Value]) -> Vec<(String, String)> {
    let of = |alert: &Value| {
        let ban = &alert["http_trace"]["alert"]["ban"];
        let text = |key: &str| ban[key].as_str().map(str::to_owned);
        Some((text("client")?, text("outcome")?))
    };
    alerts.iter().filter_map(of).collect()
}

#[test]
fn an_attacker_is_out_within_a_second_and_nobody_else() {
    needs!("nginx", "curl", "nft");
    let site = Site::new();
    let options = ["--ban", SET, "--ban-for", "1h", "--ban-allow", ALLOWED];
    let mut tracer = site.agent(&[&options[..], &["--ban-lift"]].concat());
    assert!(tracer.wait_for_line("only observe", SOON), "the start says who bans");
    for client in [ATTACKERS[0], ATTACKERS[1], ALLOWED] {
        site.attack(client);
    }
    for attacker in ATTACKERS {
        assert!(site.turns(attacker, true, SOON), "{attacker} is still in");
    }
    for client in [address::CLIENT_V4, address::CLIENT_V6, ALLOWED] {
        assert_eq!(site.ask(client, "/index.html"), Some(200), "{client} is out");
    }
    let listed = site.bans(&["list", "--json"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for attacker in ATTACKERS {
        assert!(listed.contains(&format!("\"client\":\"{attacker}\"")), "{listed}");
    }
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let lifted = site.bans(&["lift", ATTACKERS[1]]);
    assert!(lifted.status.success(), "{lifted:?}");
    assert!(site.turns(ATTACKERS[1], false, SOON), "it was lifted");
    assert_eq!(site.bans(&["lift", "192.0.2.1"]).status.code(), Some(1));
    let outcome = tracer.stop().expect("an outcome");
    assert!(outcome.status.success(), "{:?}", outcome.said);
    let outcomes = outcomes(&outcome.report.alerts);
    for (client, expected) in
        [(ATTACKERS[0], "banning"), (ATTACKERS[1], "banning"), (ALLOWED, "refused")]
    {
        let is = |(of, what): &(String, String)| of == client && what == expected;
        assert!(outcomes.iter().any(is), "{client}: {outcomes:?}");
    }
    assert!(site.turns(ATTACKERS[0], false, SOON), "--ban-lift lifts at the end");
}

#[test]
fn bans_run_out_also_where_the_agent_was_killed() {
    needs!("nginx", "curl", "nft");
    let site = Site::new();
    let reset = ["--ban", SET, "--ban-for", "4s", "--ban-reset"];
    let tracer = site.agent(&reset);
    site.attack(ATTACKERS[0]);
    assert!(site.turns(ATTACKERS[0], true, SOON), "it is still in");
    let begun = Instant::now();
    site.ask(ATTACKERS[0], "/index.html");
    let asked = begun.elapsed();
    assert!(asked < Duration::from_millis(300), "it is reset, not left waiting: {asked:?}");
    let report = tracer.kill().expect("a report");
    assert!(!outcomes(&report.alerts).is_empty(), "the alert says it");
    assert!(site.turns(ATTACKERS[0], false, Duration::from_secs(6)), "a ban runs out");
    // The next agent finds the table as the first one left it.
    let tracer = site.agent(&reset);
    site.attack(ATTACKERS[0]);
    assert!(site.turns(ATTACKERS[0], true, SOON), "it is still in");
    drop(tracer);
}

/// The set is the firewall's: a ban that somebody has lifted, and a table that a reload has removed, are noticed,
/// and the next alert bans again.
#[test]
fn what_others_lift_is_banned_again_by_the_next_alert() {
    needs!("nginx", "curl", "nft");
    let site = Site::new();
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.yml");
    // A rule for each alert: an open one repeats once per suppress period.
    let rule = |n: usize| {
        format!(
            "title: attack {n}\nid: attack-{n}\nlevel: high\nlogsource: {{category: webserver}}\n\
             detection: {{a: {{url.path: /attack-{n}}}, condition: a}}\n"
        )
    };
    let all: Vec<String> = (0..4).map(rule).collect();
    std::fs::write(&rules, all.join("---\n")).expect("rules");
    let rules = rules.to_str().expect("a path");
    let tracer = site.agent(&["--ban", SET, "--ban-for", "1h", "--rules", rules]);
    let nft = program("nft").expect("nft");
    let run = |words: &[&str]| {
        let run = site.pair.server.run(Command::new(&nft).args(words));
        assert!(run.expect("nft").status.success(), "{words:?}");
    };
    let lift: [&dyn Fn(); 3] = [
        &|| assert!(site.bans(&["lift", ATTACKERS[0]]).status.success()),
        &|| run(&["flush", "set", "inet", "http-trace", "banned"]),
        &|| run(&["delete", "table", "inet", "http-trace"]),
    ];
    for (n, lift) in lift.into_iter().enumerate() {
        site.ask(ATTACKERS[0], &format!("/attack-{n}"));
        assert!(site.turns(ATTACKERS[0], true, SOON), "{n}: it is still in");
        lift();
        assert!(site.turns(ATTACKERS[0], false, SOON), "{n}: it is still out");
    }
    site.ask(ATTACKERS[0], "/attack-3");
    assert!(site.turns(ATTACKERS[0], true, SOON), "it is still in");
    let outcome = tracer.stop().expect("an outcome");
    let said = outcome.said.join("\n");
    assert!(said.contains("4 bans made"), "{said}");
}

/// Clients that must not be banned, and one that the set cannot take, attack with others at the same time: each
/// refusal is told with its reason, and the others are banned.
#[test]
fn a_client_that_is_refused_keeps_no_other_in() {
    needs!("nginx", "curl", "nft");
    const GATEWAY: &str = "10.77.0.68";
    const PROXY: &str = "10.77.0.69";
    const IN_NETWORK: &str = "10.77.0.71";
    const OTHERS: [&str; 4] = ["10.77.0.66", "10.77.0.81", "10.77.0.82", "10.77.0.83"];
    let site = Site::new();
    for client in [GATEWAY, PROXY, IN_NETWORK, OTHERS[1], OTHERS[2], OTHERS[3]] {
        let add = format!("address add {client}/24 dev veth0");
        site.pair.client.ip(&add).expect("an address");
    }
    let route = format!("route add default via {GATEWAY}");
    site.pair.server.ip(&route).expect("a route");
    // The set of somebody else, with a network in it that a ban inside it conflicts with.
    let table = "table inet own {
        set bad { type ipv4_addr; flags timeout, interval; elements = { 10.77.0.70/31 }; }
        set bad6 { type ipv6_addr; flags timeout; }
        chain input { type filter hook input priority 0; ip6 saddr @bad6 drop
            ip saddr @bad ip saddr != 10.77.0.70/31 drop; }
    }";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.nft");
    std::fs::write(&file, table).expect("a file");
    let nft = program("nft").expect("nft");
    let made = site.pair.server.run(Command::new(nft).arg("-f").arg(&file)).expect("nft");
    assert!(made.status.success(), "{made:?}");
    let options = ["--ban", "nft:own/bad", "--ban-for", "1h"];
    let allowed = ["--ban-allow", ALLOWED, "--trusted-proxies", PROXY];
    let tracer = site.agent(&[&options[..], &allowed].concat());
    // One client after the other, without waiting for the firewall in between.
    let clients = [ALLOWED, GATEWAY, PROXY, IN_NETWORK];
    std::thread::scope(|scope| {
        for client in clients.into_iter().chain(OTHERS) {
            scope.spawn(|| site.attack(client));
        }
        let url = format!("http://{}/../../etc/passwd?id=1'%20OR%201=1--", address::SERVER_V4);
        let words: Vec<String> = (0..20).map(|n| format!("{url}{n}")).collect();
        let words: Vec<&str> =
            ["--path-as-is"].into_iter().chain(words.iter().map(String::as_str)).collect();
        curl(&site.pair.server, &words).expect("curl");
    });
    for client in OTHERS {
        assert!(site.turns(client, true, SOON), "{client} is still in");
    }
    for client in clients {
        assert_eq!(site.ask(client, "/index.html"), Some(200), "{client}");
    }
    let outcome = tracer.stop().expect("an outcome");
    let said = outcome.said.join("\n");
    let reasons: Vec<(&str, &str)> = outcome
        .report
        .alerts
        .iter()
        .filter_map(|alert| {
            let ban = &alert["http_trace"]["alert"]["ban"];
            Some((ban["client"].as_str()?, ban["reason"].as_str()?))
        })
        .collect();
    for (client, reason) in [
        (ALLOWED, "it is in ban-allow"),
        (GATEWAY, "it is a gateway of this host"),
        (PROXY, "it is a trusted proxy"),
        (address::SERVER_V4, "it is an address of this host"),
    ] {
        assert!(reasons.contains(&(client, reason)), "{client}: {reasons:?}");
    }
    assert!(said.contains("4 bans made"), "{said}");
    assert!(said.contains("cannot ban clients: nft: "), "{said}");
}

#[test]
fn without_a_time_nobody_is_banned() {
    needs!("nginx", "curl", "nft");
    let site = Site::new();
    let tracer = site.agent(&["--ban", SET]);
    site.attack(ATTACKERS[0]);
    let outcome = tracer.stop().expect("an outcome");
    assert!(
        outcomes(&outcome.report.alerts).contains(&(ATTACKERS[0].to_owned(), "dry_run".to_owned()))
    );
    let said = outcome.said.join("\n");
    assert!(said.contains("1 client would have been banned"), "{said}");
    assert_eq!(site.ask(ATTACKERS[0], "/index.html"), Some(200));
    let nft = program("nft").expect("nft");
    let tables = site.pair.server.run(Command::new(nft).args(["list", "tables"]));
    assert!(tables.expect("nft").stdout.is_empty(), "no table is made");
}

#[test]
fn nothing_is_made_in_a_table_of_somebody_else() {
    needs!("curl", "nft");
    let pair = Pair::new(1500).expect("a pair");
    let nft = program("nft").expect("nft");
    let run = |words: &[&str]| pair.server.run(Command::new(&nft).args(words)).expect("nft");
    run(&["add", "table", "inet", "filter"]);
    let binary = agent::binary().expect("a binary");
    let start = || {
        let mut command = Command::new(binary);
        command.args(["--ban", "nft:filter/bad", "--ban-for", "1m", "--duration", "100ms"]);
        pair.server.enter(|| command.output()).expect("entered").expect("it runs")
    };
    let refused = start();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let hint = "nft add set inet filter bad '{ type ipv4_addr; flags timeout; }'";
    assert!(said.contains(hint), "{said}");
    run(&["add", "set", "inet", "filter", "bad", "{ type ipv4_addr; flags timeout; }"]);
    run(&["add", "set", "inet", "filter", "bad6", "{ type ipv6_addr; flags timeout; }"]);
    // Bans that no rule looks up would have no effect.
    let chain = "{ type filter hook input priority 0; }";
    run(&["add", "chain", "inet", "filter", "input", chain]);
    for (set, protocol) in [("bad", "ip"), ("bad6", "ip6")] {
        let refused = start();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let rule = format!("{protocol} saddr @{set} drop");
        assert!(said.contains(&format!("nft add rule inet filter input {rule}")), "{said}");
        run(&["add", "rule", "inet", "filter", "input", &rule]);
    }
    let before = run(&["list", "ruleset"]).stdout;
    let said = start();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(run(&["list", "ruleset"]).stdout, before);
}

/// The commands of docs/BANNING.md about nftables, in order, in one namespace.
#[test]
fn the_page_runs_as_it_is_written() {
    needs!("nft");
    const PAGE: &str = include_str!("../../../docs/BANNING.md");
    const LOG: &str =
        "192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n";
    let (page, _) = PAGE.split_once("## fail2ban").expect("the next section");
    let mut in_block = false;
    let commands = page.lines().map(str::trim).filter(|line| {
        let is_fence = line.starts_with("```");
        in_block ^= is_fence;
        in_block && !is_fence
    });
    let folder = tempfile::tempdir().expect("a folder");
    let desk = |name: &str| folder.path().join(name);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/captures/nginx.pcap");
    std::fs::copy(root, desk("day.pcap")).expect("a capture");
    std::fs::write(desk("access.log"), LOG).expect("a log");
    let binary = agent::binary().expect("a binary").canonicalize();
    std::os::unix::fs::symlink(binary.expect("a path"), desk("http-trace")).expect("a link");
    let path = std::env::var("PATH").expect("PATH");
    let pair = Pair::new(1500).expect("a pair");
    let mut count = 0;
    for command in commands {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .current_dir(folder.path())
            .env("PATH", format!("{}:{path}", folder.path().display()))
            // What traces live would go on.
            .env("HTTP_TRACE_DURATION", "500ms");
        let run = pair.server.enter(|| shell.output()).expect("entered");
        let run = run.expect("it runs");
        assert!(run.status.success(), "{command}: {run:?}");
        let printed = String::from_utf8_lossy(&run.stdout);
        let expected: &[&str] = match command {
            _ if command.contains("bans list") => &["198.51.100.7", "198.51.100.8"],
            _ if command.contains("lift 198.51.100.7") => &["198.51.100.7 lifted"],
            _ if command.contains("lift --all") => &["198.51.100.8 lifted"],
            _ => &[],
        };
        assert!(expected.iter().all(|text| printed.contains(text)), "{command}: {run:?}");
        count += 1;
    }
    assert!(count >= 15, "{count}");
}
