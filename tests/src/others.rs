//! Apache httpd and HAProxy, whose framing differs from nginx's, each with an access log in the format of
//! nginx's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{Raw, curl};
use crate::need::program;
use crate::netns::{Namespace, Running};
use crate::nginx::{LogLine, read_log, write_files};

/// A running server. Ends on drop.
#[derive(Debug)]
pub struct Server {
    running: Running,
    folder: TempDir,
    log: PathBuf,
}

impl Server {
    fn start(
        namespace: &Namespace,
        port: u16,
        folder: TempDir,
        mut command: Command,
    ) -> Result<Self> {
        let log = folder.path().join("access.log");
        command.stdout(std::fs::File::create(&log)?).stderr(Stdio::null());
        let running = namespace.serve(&mut command, ([127, 0, 0, 1], port).into())?;
        Ok(Server { running, folder, log })
    }

    /// Ends it cleanly and reads its log. Requests of a connection are numbered in the order in which they
    /// were read.
    pub fn stop(mut self) -> Result<Vec<LogLine>> {
        self.running.signal(Signal::TERM)?;
        self.running.wait()?;
        let text = std::fs::read(&self.log)?;
        let mut lines = read_log(&text)?;
        let serial = |line: &LogLine| (line.client, line.connection, line.number);
        lines.sort_by_key(serial);
        for at in 0..lines.len() {
            let before = at.checked_sub(1).and_then(|before| lines.get(before));
            let same = before.filter(|before| before.client == lines[at].client);
            lines[at].number = same.map_or(1, |before| before.number + 1);
        }
        // For a request that they cannot parse they log their own substitute.
        for line in lines.iter_mut().filter(|line| matches!(line.status, 400 | 408)) {
            line.method.clear();
        }
        // Probes that waited for the server to listen came from inside.
        lines.retain(|line| !line.client.ip().is_loopback());
        drop(self.folder);
        Ok(lines)
    }
}

/// Apache on this port with nginx's files.
pub fn apache(namespace: &Namespace, port: u16) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    write_files(folder.path())?;
    let www = folder.path().join("www");
    std::fs::write(
        www.join("odd.asis"),
        "Status: 299 Anything goes\r\nContent-Type: text/plain\r\nX-As-Is: yes\r\n\r\nas it is\r\n",
    )?;
    // Readable by the user that Apache switches to.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    std::fs::set_permissions(www.join("dav"), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let configuration = folder.path().join("apache.conf");
    std::fs::write(&configuration, apache_configuration(folder.path(), port))?;
    let mut command = Command::new(program("apache2").context("apache2 is not installed")?);
    command.arg("-X").arg("-f").arg(&configuration);
    Server::start(namespace, port, folder, command)
}

fn apache_configuration(folder: &Path, port: u16) -> String {
    let modules = [
        ("mpm_event", "mpm_event"),
        ("authz_core", "authz_core"),
        ("dir", "dir"),
        ("mime", "mime"),
        ("deflate", "deflate"),
        ("filter", "filter"),
        ("asis", "asis"),
        ("include", "include"),
        ("alias", "alias"),
        ("env", "env"),
        ("setenvif", "setenvif"),
        ("headers", "headers"),
    ];
    let modules: String = modules
        .map(|(name, file)| {
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{file}.so\n")
        })
        .concat();
    let folder = folder.display();
    format!(
        r#"{modules}
ServerRoot {folder}
ServerName apache.example
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
User www-data
Group www-data
Listen 0.0.0.0:{port}
Listen [::]:{port}
DocumentRoot {folder}/www
DirectoryIndex index.html
KeepAlive On
MaxKeepAliveRequests 0
TraceEnable on
TypesConfig /dev/null
AddType text/plain .txt
AddType text/html .html
AddHandler send-as-is .asis
AddOutputFilterByType DEFLATE text/plain
ErrorDocument 404 /404.html
Redirect 302 /moved /index.html
Header always set X-Server "apache"
<Location /private>
    Require all denied
</Location>
LogFormat "{{\"connection\":0,\"number\":%k,\"client\":\"%a\",\"client_port\":%{{remote}}p,\"method\":\"%<m\",\"target\":\"%U%q\",\"status\":%>s,\"bytes\":%{{bytes}}n0,\"body\":0}}" json
CustomLog /dev/stdout json
"#
    )
    // Without mod_logio there is no byte count of the server, and bytes are not compared.
    .replace("%{bytes}n0", "1")
}

/// HAProxy on this port before a server in the same namespace. Its byte count is that of the server's
/// response, and is left out.
pub fn haproxy(namespace: &Namespace, port: u16, backend: SocketAddr) -> Result<Server> {
    let folder = tempfile::tempdir()?;
    let configuration = folder.path().join("haproxy.cfg");
    std::fs::write(
        &configuration,
        format!(
            r#"global
    log stdout format raw daemon
defaults
    mode http
    log global
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout http-request 700ms
    timeout http-keep-alive 20s
    log-format '{{"connection":0,"number":%rt,"client":"%ci","client_port":%cp,"method":"%[var(txn.method)]","target":"%[var(txn.target),json(utf8s)]","status":%ST,"bytes":1,"body":0,"ends":"%ts"}}'
frontend http
    bind 0.0.0.0:{port}
    bind :::{port} v6only
    http-request set-var(txn.method) method
    http-request set-var(txn.target) url
    http-request redirect location /there code 303 if {{ path /moved }}
    http-request deny deny_status 429 if {{ path /limited }}
    http-request return status 200 content-type text/plain string returned if {{ path /returned }}
    use_backend nobody if {{ path /nobody }}
    default_backend server
backend server
    compression algo gzip
    compression type text/plain
    server one {backend}
backend nobody
    server none 127.0.0.1:9
"#
        ),
    )?;
    let mut command = Command::new(program("haproxy").context("haproxy is not installed")?);
    command.arg("-db").arg("-f").arg(&configuration);
    Server::start(namespace, port, folder, command)
}

/// Requests to both: HEAD, conditional and range requests, uploads with 100-continue, errors.
const CURLS: &[&str] = &[
    "@/small.txt @/none @/moved @/limited @/returned @/nobody @/private @/odd.asis @/small.txt",
    "--head @/small.txt @/none @/text.txt",
    "-H If-None-Match:* @/small.txt @/index.html",
    "--compressed @/text.txt @/text.txt @/small.txt",
    "--range 0-9 @/small.txt",
    "--range 0-1,4-5 @/small.txt",
    "--range 100- @/small.txt",
    "--http1.0 @/text.txt",
    "--request TRACE -H X-Trap:HTTP/1.1 @/echo",
    "--request OPTIONS @/small.txt",
    "--data-binary 0123456789 --header Expect:100-continue @/small.txt",
    "--header Transfer-Encoding:chunked --data-binary abc @/none",
    "@/large.bin @/small.txt",
];

/// Makes the visits; returns the number of responses that curl saw.
pub fn visit(client: &Namespace, server: SocketAddr) -> Result<usize> {
    let mut seen = 0;
    for line in CURLS {
        let line = line.replace('@', &format!("http://{server}"));
        let words: Vec<_> = line.split_whitespace().collect();
        seen += curl(client, &words)?.iter().filter(|t| t.status != 0).count();
    }
    // Pipelined requests, a request that never ends (408 from HAProxy), and an invalid one (400).
    for bytes in [
        &b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\nHEAD /small.txt HTTP/1.1\r\nHost: a\r\n\r\n\
           GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..],
        b"GET /half HTTP/1.1\r\nHost: a\r\nX-",
        b"NONSENSE\r\n\r\n",
    ] {
        let mut raw = Raw::connect(client, server)?;
        raw.send(bytes)?;
        if bytes.ends_with(b"X-") {
            std::thread::sleep(std::time::Duration::from_millis(1000));
            raw.finish()?;
        }
        seen += raw.drain()?;
    }
    Ok(seen)
}
