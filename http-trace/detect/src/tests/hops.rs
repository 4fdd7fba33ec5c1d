//! One request over several connections, to a proxy and to the application behind it: each counter counts it
//! once.

use super::*;
use http_trace_model::event::{Endpoint, Forwarded};

const MS: u64 = 1_000_000;

/// The event of a request of `client` to `server`, as the `hop`th of its connections; 0 is the client's own.
fn hop(client: &str, server: &str, target: &str, hop: u64, time_ns: u64) -> HttpEvent {
    let mut event = response(client, 404, target, time_ns);
    event.server = Endpoint { ip: server.parse().expect("an address"), port: 80 };
    if hop > 0 {
        event.forwarded = Some(Forwarded { ip: event.client.ip, port: None });
        event.client.ip = "10.0.0.5".parse().expect("an address");
    }
    // The inner ones begin later and are answered earlier.
    event.request_start_ns = Some(time_ns - (10 - hop) * MS);
    event.request_end_ns = event.request_start_ns;
    event.response_start_ns = Some(time_ns + (10 - hop) * MS);
    event
}

fn opened(events: impl IntoIterator<Item = HttpEvent>) -> Vec<String> {
    let (alerts, _) = run(&mut built_in(), events);
    spikes(&alerts).into_iter().map(|(rule, ..)| rule.to_owned()).collect()
}

#[test]
fn a_request_counts_once_for_its_client() {
    const SPIKE: &str = "http-error-spike-external";
    let at = |i: u64| BEGIN + i * S / 2;
    let asks = |n: u64, servers: &'static [&'static str]| {
        (0..n).flat_map(move |i| {
            let hops = servers.iter().enumerate().rev();
            hops.map(move |(at_hop, server)| {
                // A proxy may cut off the folder that led to the application.
                let target = if at_hop > 0 { "/a?x=/1" } else { "/app/a?x=/1" };
                hop("198.51.100.7", server, target, at_hop as u64, at(i))
            })
        })
    };
    for servers in
        [&["10.0.0.5"][..], &["10.0.0.5", "10.0.0.6"], &["10.0.0.4", "10.0.0.5", "10.0.0.6"]]
    {
        assert_eq!(opened(asks(349, servers)), [""; 0], "{servers:?}");
        assert_eq!(opened(asks(350, servers)), [SPIKE], "{servers:?}");
    }
}

/// What differs in one of these is another request.
#[test]
fn other_requests_count_on_their_own() {
    let changes: [(&str, fn(&mut HttpEvent)); 6] = [
        ("client", |e| e.forwarded = Some(Forwarded { ip: [198, 51, 100, 8].into(), port: None })),
        ("named by nobody", |e| e.forwarded = None),
        ("status", |e| e.response.as_mut().expect("one").status = 500),
        ("target", |e| e.request.as_mut().expect("one").target = "/b".into()),
        ("server", |e| e.server = hop("198.51.100.7", "10.0.0.5", "/", 0, BEGIN).server),
        ("time", |e| e.request_start_ns = e.request_start_ns.map(|ns| ns - S)),
    ];
    for (what, change) in changes {
        let pairs = (0..200).flat_map(|i| {
            let of = |server, at_hop| hop("198.51.100.7", server, "/a", at_hop, BEGIN + i * S / 2);
            let mut inner = of("10.0.0.6", 1);
            change(&mut inner);
            if what == "named by nobody" {
                inner.client.ip = [198, 51, 100, 7].into();
            }
            [inner, of("10.0.0.5", 0)]
        });
        let expected = usize::from(what != "client");
        assert_eq!(opened(pairs).len(), expected, "{what}");
    }
}
