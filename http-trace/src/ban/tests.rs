use super::*;
use http_trace_detect::alert::{Entity, Shown};
use http_trace_detect::rule::Severity;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An alert about a client.
fn about(client: &str) -> Alert {
    let mut alert = http_trace_samples::alert();
    alert.severity = Severity::of(Level::High);
    alert.direct = true;
    alert.entities = vec![Entity {
        role: "client".to_owned(),
        shown: Shown { field: Field::ClientIp, value: client.into() },
    }];
    alert
}

fn bans(allow: &[&str], trusted: &[&str]) -> Bans {
    let net = |text: &&str| text.parse::<IpNet>().expect("a network");
    let plan = Plan {
        set: "nft:t/s".parse().expect("a set"),
        lasts: Some(Duration::from_secs(60)),
        level: Level::Medium,
        allow: allow.iter().map(net).collect(),
        most: 2,
        reset: false,
        lift: false,
    };
    let trusted = Trusted::with(trusted.iter().map(net));
    let mut bans = Bans::open(plan, trusted, false).expect("a dry run needs nothing");
    bans.never = Never::of(vec![(ip("192.0.2.254"), "it is a gateway of this host")]);
    bans
}

#[test]
fn who_may_be_banned_and_who_never() {
    let mut bans = bans(&["198.51.100.0/24"], &["203.0.113.9/32"]);
    let mut judge = |alert: Alert| bans.judge(&alert).map(|ban| (ban.outcome, ban.reason));
    assert_eq!(judge(about("192.0.2.1")), Some((Outcome::DryRun, None)));
    assert_eq!(judge(about("192.0.2.1")), Some((Outcome::DryRun, None)));
    assert_eq!(
        judge(about("::ffff:192.0.2.1")),
        Some((Outcome::DryRun, None)),
        "nothing is in force"
    );
    let refused = |reason| Some((Outcome::Refused, Some(reason)));
    for (client, reason) in [
        ("198.51.100.7", "it is in ban-allow"),
        ("203.0.113.9", "it is a trusted proxy"),
        ("::1", "it is a trusted proxy"),
        ("192.0.2.254", "it is a gateway of this host"),
        ("224.0.0.1", "it is not a unicast address"),
    ] {
        assert_eq!(judge(about(client)), refused(reason), "{client}");
    }
    let mut behind = about("192.0.2.2");
    behind.direct = false;
    let reason = "known only from a proxy's header: a ban would have no effect";
    assert_eq!(judge(behind), refused(reason));
    let mut shared = about("192.0.2.2");
    shared.proxy_suspected = true;
    assert_eq!(judge(shared), refused("it looks like a proxy of many clients"));
    let mut low = about("192.0.2.2");
    low.severity = Severity::of(Level::Low);
    assert_eq!(judge(low), None, "its level is too low");
    let mut ended = about("192.0.2.2");
    ended.state = State::Ended;
    assert_eq!(judge(ended), None, "it is over");
    let mut of_server = about("192.0.2.2");
    of_server.entities[0].shown.field = Field::ServerIp;
    assert_eq!(judge(of_server), None, "it is about no client");
    assert_eq!(judge(about("192.0.2.3")), Some((Outcome::DryRun, None)));
    let reason = "ban-most is reached";
    assert_eq!(judge(about("192.0.2.4")), refused(reason));
    assert_eq!((bans.counts.banned, bans.counts.refused), (2, 8));
    assert_eq!(bans.counts.reasons.len(), 7, "each once: {:?}", bans.counts.reasons);
}

#[test]
fn loopback_that_no_proxy_uses_is_still_this_host() {
    let mut bans = bans(&[], &[]);
    bans.trusted = Trusted::only(Vec::new());
    let ban = bans.judge(&about("127.0.0.1")).expect("it is judged");
    assert_eq!((ban.client, ban.outcome), (ip("127.0.0.1"), Outcome::Refused));
}
