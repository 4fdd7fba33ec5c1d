//! Sends alerts by syslog: to the local daemon as syslog(3) does, or to a server by RFC 5424, as datagrams or over a
//! stream. Must not retry.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::carrier::{Carrier, Failure, Notice};
use super::target::SyslogServer;
use http_trace_detect::alert::State;

/// Timeout of connecting and writing.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a new receiver of datagrams has to refuse the first: its refusal comes after the datagram was sent.
const REFUSAL: Duration = Duration::from_millis(200);

/// Facility 10: security and authorisation messages (RFC 5424 §6.2.1).
const FACILITY: u8 = 10;

/// Maximum message in a datagram; receivers must accept 480 bytes and should accept 2,048
/// (RFC 5424 §6.1).
const MOST: usize = 2048;

/// Where the local daemon listens.
const LOCAL: &str = "/dev/log";

/// Maximum bytes read from a receiver, which should send none.
const SAID: usize = 64 << 10;

/// Id of our structured data (RFC 5424 §7.2.2: a number reserved for documentation).
const DATA: &str = "httpTrace@32473";

pub(super) struct Syslog {
    place: SyslogServer,
    host: String,
    open: Option<Open>,
}

enum Open {
    Local(std::os::unix::net::UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Syslog {
    pub(super) fn new(place: SyslogServer) -> Self {
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        Syslog { place, host, open: None }
    }

    fn connect(&self) -> std::io::Result<Open> {
        match &self.place {
            SyslogServer::Local => local(Path::new(LOCAL)).map(Open::Local),
            SyslogServer::Udp(to) => {
                let address = first(to)?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Open::Udp(socket))
            }
            SyslogServer::Tcp(to) => {
                let stream = TcpStream::connect_timeout(&first(to)?, PATIENCE)?;
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                Ok(Open::Tcp(stream))
            }
        }
    }
}

/// Connects to the daemon at a path.
fn local(path: &Path) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.connect(path).map_err(|error| {
        std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Whether the peer has closed or reset a stream: the kernel would accept data that nobody receives. Does not block.
fn is_closed(mut stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    // Data comes before the end of the stream.
    let mut said = [0; 4096];
    let mut left = SAID;
    let open = loop {
        match stream.read(&mut said) {
            Ok(0) => break false,
            Ok(length) if length < left => left -= length,
            Ok(_) => break true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break error.kind() == ErrorKind::WouldBlock,
        }
    };
    !open || stream.set_nonblocking(false).is_err()
}

/// Waits for the refusal of a datagram; receivers send nothing else.
fn refusal(socket: &UdpSocket) -> std::io::Result<()> {
    socket.set_read_timeout(Some(REFUSAL))?;
    match socket.recv(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(error),
        _ => Ok(()),
    }
}

fn first(to: &str) -> std::io::Result<std::net::SocketAddr> {
    to.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("no address"))
}

impl Carrier for Syslog {
    fn carry(&mut self, notice: &Notice) -> Result<(), Failure> {
        let text = match self.place {
            SyslogServer::Local => local_message(notice),
            _ => message(notice, &self.host),
        };
        let open = self.open.take();
        // The first write after a restart of the daemon would be lost.
        let open = open.filter(|open| !matches!(open, Open::Tcp(stream) if is_closed(stream)));
        let is_new = open.is_none();
        let open = match open {
            Some(open) => open,
            None => self.connect().map_err(Failure::passing)?,
        };
        let cut = &text.as_bytes()[..text.floor_char_boundary(MOST)];
        let sent = match &open {
            Open::Local(socket) => socket.send(cut).map(drop),
            Open::Udp(socket) => {
                socket.send(cut).and_then(|_| if is_new { refusal(socket) } else { Ok(()) })
            }
            Open::Tcp(stream) => {
                let mut stream = stream;
                stream.write_all(format!("{} {text}", text.len()).as_bytes())
            }
        };
        // Reconnect after an error: the daemon may have been restarted.
        let of_earlier = !is_new && matches!(open, Open::Udp(_));
        sent.map_err(|error| Failure { of_earlier, ..Failure::passing(error) })?;
        self.open = Some(open);
        Ok(())
    }
}

/// `<PRI>1 TIME HOST http-trace PID alert [data] MESSAGE`.
fn message(notice: &Notice, host: &str) -> String {
    let (priority, pid, data, text) = parts(notice);
    // Six decimals are the most (RFC 5424 §6.2.3).
    let time = time(notice).strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    // Marks text that is not ASCII as UTF-8 (RFC 5424 §6.4); some receivers leave it in the text.
    let mark = if text.is_ascii() { "" } else { "\u{feff}" };
    format!("<{priority}>1 {time} {} http-trace {pid} alert {data} {mark}{text}", word(host, 255))
}

/// `<PRI>TIME http-trace[PID]: [data] MESSAGE`, in local time: local daemons read no other form (syslog(3)).
fn local_message(notice: &Notice) -> String {
    let (priority, pid, data, text) = parts(notice);
    let time = time(notice).to_zoned(jiff::tz::TimeZone::system());
    format!("<{priority}>{} http-trace[{pid}]: {data} {text}", time.strftime("%b %e %H:%M:%S"))
}

/// Priority, process id, structured data and text of an alert. The text of one that was told before begins with its
/// state, because receivers may write the text alone.
fn parts(notice: &Notice) -> (u8, u32, String, String) {
    let level = match notice.severity {
        9.. => 2,
        7..=8 => 3,
        4..=6 => 4,
        1..=3 => 5,
        0 => 6,
    };
    let data = format!(
        "[{DATA} rule=\"{}\" severity=\"{}\" id=\"{:016x}\" state=\"{}\"]",
        data(&notice.rule),
        notice.severity,
        notice.id,
        notice.state.name(),
    );
    let mut text = String::new();
    if notice.state != State::Opened {
        text.push_str(notice.state.name());
        text.push_str(": ");
    }
    text.extend(notice.message.chars().map(|c| if c.is_control() { ' ' } else { c }));
    (FACILITY * 8 + level, std::process::id(), data, text)
}

fn time(notice: &Notice) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(notice.time_ns.into()).unwrap_or_default()
}

/// PRINTUSASCII of limited length, or the NILVALUE.
fn word(text: &str, most: usize) -> String {
    let kept: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if kept.is_empty() { "-".into() } else { kept }
}

/// A PARAM-VALUE: `"`, `\` and `]` are escaped (RFC 5424 §6.3.3).
fn data(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::super::tests::notice;
    use super::*;

    #[test]
    fn a_receiver_that_went_away_is_connected_to_again() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let mut syslog = Syslog::new(SyslogServer::Tcp(address));
        let all = |mut stream: TcpStream| {
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("text");
            text
        };
        for (message, farewell) in [("one", &b""[..]), ("two", b"bye\r\n"), ("three", b"")] {
            assert!(syslog.carry(&notice(message)).is_ok(), "{message}");
            let (mut stream, _) = listener.accept().expect("a connection of its own");
            // One that speaks is no reason to begin anew.
            stream.write_all(b"hello\r\n").expect("said");
            assert!(syslog.carry(&notice("again")).is_ok());
            stream.write_all(farewell).expect("said");
            stream.shutdown(std::net::Shutdown::Write).expect("an end of it");
            // The end has come: nothing is between the two.
            let open = syslog.open.as_ref();
            let closed = |_: &u32| {
                std::thread::sleep(Duration::from_millis(10));
                matches!(open, Some(Open::Tcp(stream)) if is_closed(stream))
            };
            assert!((0..500).find(closed).is_some(), "{message}");
            let reading = std::thread::spawn(move || all(stream));
            // Connected to again, and so the one before is closed here too.
            assert!(syslog.carry(&notice("after")).is_ok());
            let (stream, _) = listener.accept().expect("another connection");
            let text = reading.join().expect("read");
            assert!(text.contains(message) && text.ends_with("again"), "{text}");
            syslog.open = None;
            assert!(all(stream).ends_with("after"));
        }
    }

    #[test]
    fn a_local_daemon_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let error = local(&path).expect_err("nobody listens").to_string();
        assert!(error.starts_with(&format!("{}: No such file", path.display())), "{error}");
    }

    #[test]
    fn messages_to_the_local_daemon_are_as_those_of_syslog_3() {
        let text = local_message(&notice("10.0.0.1 asked\n"));
        let (begin, end) = text.split_once(" http-trace[").expect("a tag");
        // `<85>Nov 20 06:40:07`, in the time zone of this host.
        assert!(begin.starts_with("<85>Nov ") && begin.len() == 19, "{text}");
        let expected = format!(
            "{}]: [httpTrace@32473 rule=\"r\" severity=\"3\" id=\"00000000000000ab\" \
             state=\"opened\"] 10.0.0.1 asked ",
            std::process::id()
        );
        assert_eq!(end, expected);
    }

    #[test]
    fn messages_are_as_rfc_5424_says() {
        let mut notice = notice("a \u{1b}[31m\r\n<13>1 forged");
        notice.rule = "x\"]\\y".into();
        let text = message(&notice, "");
        let begin = format!(
            "<85>1 2026-11-20T06:40:07.123456Z - http-trace {} alert \
             [httpTrace@32473 rule=\"x\\\"\\]\\\\y\" severity=\"3\" id=\"00000000000000ab\" state=\"opened\"] ",
            std::process::id()
        );
        assert_eq!(text, begin + "a  [31m  <13>1 forged");
        for state in [State::Updated, State::Ended] {
            notice.state = state;
            let (text, name) = (message(&notice, ""), state.name());
            assert!(text.contains(&format!(" state=\"{name}\"] {name}: a  [31m")), "{text}");
        }
        notice.message = "ä".into();
        assert!(message(&notice, "").ends_with("] \u{feff}ended: ä"));
        for (severity, priority) in [(0, 86), (4, 84), (7, 83), (10, 82)] {
            notice.severity = severity;
            assert!(message(&notice, "h").starts_with(&format!("<{priority}>1 ")));
        }
    }
}
