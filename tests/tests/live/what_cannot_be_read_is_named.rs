//! Without readable traffic, the agent reports what it sees instead.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::needs;
use http_trace_tests::netns::Namespace;

/// The first bytes of a ClientHello: a handshake record (RFC 8446 §5.1).
const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\x00\x2c\x01\x00\x00\x28\x03\x03";

const CONNECTIONS: usize = 12;

#[test]
fn what_comes_instead_of_http_is_said_once() {
    needs!();
    let namespace = Namespace::new("tls").expect("a namespace");
    let agent = Agent::start(&namespace, &["-i", "lo"]).expect("the agent");
    namespace
        .enter(|| {
            let at: SocketAddr = ([127, 0, 0, 1], 443).into();
            let listener = TcpListener::bind(at).expect("a port");
            for _ in 0..CONNECTIONS {
                let mut client = TcpStream::connect(at).expect("a connection");
                let (mut server, _) = listener.accept().expect("a connection");
                let hello = [CLIENT_HELLO, &[0; 38]].concat();
                client.write_all(&hello).expect("sent");
                server.read_exact(&mut vec![0; hello.len()]).expect("read");
            }
        })
        .expect("the namespace");
    std::thread::sleep(Duration::from_secs(7));
    let outcome = agent.stop().expect("the agent's end");
    let expected = format!("nothing readable in 5 s: {CONNECTIONS} TLS on :443; ");
    let said = outcome.said.iter().filter(|line| line.contains(&expected));
    assert_eq!(said.count(), 1, "{:?}", outcome.said);
    let end = format!("nothing was lost; not readable: {CONNECTIONS} TLS on :443");
    assert!(outcome.said.last().is_some_and(|line| line.ends_with(&end)), "{:?}", outcome.said);
    outcome.check_clean();
}
