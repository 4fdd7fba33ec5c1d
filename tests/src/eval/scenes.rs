//! Clients that no tool plays: browsers, a deployment, a probe, and a thousand people behind a proxy or a
//! translated address. All are honest; a fixed seed decides their choices.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::site::{ARTICLES, ASSETS, DEAD, MISSING, PRODUCTS, Site};
use crate::chance::Chance;
use crate::client::{Answer, Raw};
use crate::netns::{Pair, address};
use crate::nginx;
use crate::routed::nft;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const BROWSER: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:139.0) Gecko/20100101 Firefox/139.0";

/// Plays the clients of this name.
pub fn run(name: &str, pair: &Pair, site: &mut Site) -> Result<()> {
    match name {
        "browser" => browser(pair),
        "login" => login(pair),
        "sign-ins" => sign_ins(pair),
        "polling" => polling(pair),
        "deployment" => deployment(pair, site),
        "monitoring" => monitoring(pair, site),
        "reverse-proxy" => reverse_proxy(pair),
        "nat" => nat(pair),
        unknown => bail!("there is no scene {unknown}"),
    }
}

fn server() -> SocketAddr {
    SocketAddr::new(address::SERVER_V4.parse().expect("an address"), 80)
}

/// A browser's connection.
struct Visitor {
    raw: Raw,
}

impl Visitor {
    /// Connects in the calling thread's namespace, from this address if given.
    fn connect(from: Option<Ipv4Addr>, to: SocketAddr) -> Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        if let Some(from) = from {
            bind(&socket, &SocketAddrV4::new(from, 0))?;
        }
        connect(&socket, &to).with_context(|| format!("connect to {to}"))?;
        Ok(Visitor { raw: Raw::over(socket.into())? })
    }

    fn ask(&mut self, line: &str, more: &str) -> Result<Answer> {
        let host = address::SERVER_V4;
        // Ends the head unless a body follows.
        let end = if more.contains("\r\n\r\n") { "" } else { "\r\n" };
        let text = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {BROWSER}\r\nAccept: */*\r\n\
             Accept-Encoding: identity\r\n{more}{end}"
        );
        self.raw.send(text.as_bytes())?;
        self.raw.receive()
    }

    fn post(&mut self, path: &str, kind: &str, body: &str) -> Result<Answer> {
        let length = body.len();
        let fields = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n");
        self.ask(&format!("POST {path}"), &format!("{fields}\r\n{body}"))
    }

    fn get(&mut self, path: &str, page: &str) -> Result<Answer> {
        let referer = format!("Referer: http://{}{page}\r\n", address::SERVER_V4);
        self.ask(&format!("GET {path}"), &referer)
    }
}

/// Pages with all their assets, some of which are missing everywhere.
fn browser(pair: &Pair) -> Result<()> {
    pair.client.enter(|| {
        let mut visitor = Visitor::connect(None, server())?;
        for n in 1..=12 {
            let page = format!("/products/{n}");
            visitor.get(&page, "/products/")?;
            for asset in ASSETS.iter().chain(MISSING) {
                visitor.get(asset, &page)?;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        for n in (1..=30).filter(|n| n % 7 != 5) {
            visitor.get(&format!("/api/items/{n}"), "/products/")?;
        }
        Ok(())
    })?
}

/// Six wrong passwords, then the right one, at the form and at the protected folder.
fn login(pair: &Pair) -> Result<()> {
    pair.client.enter(|| {
        let mut visitor = Visitor::connect(None, server())?;
        visitor.get("/login", "/")?;
        for word in ["one", "two", "three", "four", "five", "six", "temp123"] {
            visitor.post("/login", FORM, &format!("user=admin&pass={word}"))?;
            std::thread::sleep(Duration::from_millis(300));
        }
        visitor.ask("GET /admin/", "")?;
        // admin:wrong, then admin:temp123
        for credentials in ["YWRtaW46d3Jvbmc=", "YWRtaW46d3Jvbmc=", "YWRtaW46dGVtcDEyMw=="] {
            let field = format!("Authorization: Basic {credentials}\r\n");
            visitor.ask("GET /admin/", &field)?;
        }
        Ok(())
    })?
}

/// A thousand people behind one address log in within ten seconds, at forms that answer a wrong password with
/// the form itself. One in six mistypes it first, one in fifty mistypes it five times.
fn sign_ins(pair: &Pair) -> Result<()> {
    const PEOPLE: u32 = 1000;
    const FORMS: &[&str] = &["/signin", "/wp-login.php", "/account/login"];
    many_addresses(pair)?;
    translate(pair)?;
    pair.client.enter(|| {
        let begun = Instant::now();
        for number in 0..PEOPLE {
            let mut visitor = Visitor::connect(Some(client_address(number)), server())?;
            let form = FORMS[number as usize / 6 % FORMS.len()];
            visitor.get(form, "/")?;
            let wrong = match number {
                n if n % 50 == 7 => 5,
                n if n % 6 == 0 => 1,
                _ => 0,
            };
            for attempt in 0..wrong {
                let word = "x".repeat(5 + (number as usize * 7 + attempt) % 9);
                visitor.post(form, FORM, &format!("user=admin&pass={word}"))?;
            }
            visitor.post(form, FORM, "user=admin&pass=temp123")?;
            let due = begun + Duration::from_millis(10) * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    })?
}

/// A page that stays open: it keeps its session alive, reports clicks and queries GraphQL.
fn polling(pair: &Pair) -> Result<()> {
    pair.client.enter(|| {
        let mut visitor = Visitor::connect(None, server())?;
        for n in 0..150_usize {
            let clicks = "{\"click\":1},".repeat(n % 9);
            visitor.post("/session", FORM, "alive=1")?;
            visitor.post("/session", JSON, &format!("{{\"seen\":[{clicks}0]}}"))?;
            visitor.post("/telemetry", JSON, &format!("{{\"events\":[{clicks}0]}}"))?;
            visitor.post("/graphql", JSON, &format!("{{\"query\":\"{clicks}\"}}"))?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    })?
}

/// Makes every address of 10.88.0.0/16 local to the client's namespace.
fn many_addresses(pair: &Pair) -> Result<()> {
    pair.client.ip("route add local 10.88.0.0/16 dev lo")?;
    let back = format!("route add 10.88.0.0/16 via {}", address::CLIENT_V4);
    pair.server.ip(&back)?;
    Ok(())
}

fn client_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 88, 0, 10)) + number)
}

/// Twenty clients request the application four times a second; it is down for a while.
fn deployment(pair: &Pair, site: &mut Site) -> Result<()> {
    many_addresses(pair)?;
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            pair.client.enter(|| {
                let asked = (0..20).map(client_address).map(|from| {
                    std::thread::Builder::new().spawn(move || -> Result<()> {
                        let mut visitor = Visitor::connect(Some(from), server())?;
                        for n in 0..48 {
                            visitor.get(&format!("/api/items/{}", n % 4 + 1), "/")?;
                            std::thread::sleep(Duration::from_millis(250));
                        }
                        Ok(())
                    })
                });
                let asked: Vec<_> = asked.collect::<std::io::Result<_>>()?;
                asked.into_iter().try_for_each(|one| joined(one.join()))
            })?
        });
        std::thread::sleep(Duration::from_secs(4));
        site.end_app();
        std::thread::sleep(Duration::from_secs(4));
        site.restart_app(&pair.server)?;
        joined(clients.join())
    })
}

/// A probe that requests ten times a second, through a failure of 2 s.
fn monitoring(pair: &Pair, site: &mut Site) -> Result<()> {
    pair.client.enter(|| {
        let mut visitor = Visitor::connect(None, server())?;
        for n in 0..100 {
            match n {
                40 => site.end_app(),
                60 => site.restart_app(&pair.server)?,
                _ => {}
            }
            visitor.ask("GET /health", "")?;
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    })?
}

/// Clients behind an nginx that names its clients.
fn reverse_proxy(pair: &Pair) -> Result<()> {
    many_addresses(pair)?;
    let folder = tempfile::tempdir()?;
    let http = format!(
        "    access_log off;\n    upstream site {{ server {}; keepalive 16; }}\n\
         server {{ listen 10.77.0.1:8080 backlog=4096; listen 127.0.0.1:8080;\n\
         location / {{ proxy_pass http://site; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}\n",
        server()
    );
    let _front = nginx::start(&pair.client, folder.path(), 8080, 1, &http)?;
    let front = SocketAddr::new(address::CLIENT_V4.parse()?, 8080);
    people(pair, front, 5)
}

/// Clients behind one translated address.
fn nat(pair: &Pair) -> Result<()> {
    many_addresses(pair)?;
    translate(pair)?;
    people(pair, server(), 50)
}

/// Translates the addresses of [`many_addresses`] to one.
fn translate(pair: &Pair) -> Result<()> {
    nft(
        &pair.client,
        "table ip translations {
            chain after {
                type nat hook postrouting priority srcnat
                ip saddr 10.88.0.0/16 oifname veth0 masquerade
            }
        }",
    )
}

/// A thousand people, each with their own address, visit some pages; one request in `one_in` follows a dead
/// link.
fn people(pair: &Pair, to: SocketAddr, one_in: usize) -> Result<()> {
    const PEOPLE: u32 = 1000;
    const AT_ONCE: u32 = 8;
    pair.client.enter(|| {
        let begun = Instant::now();
        let threads = (0..AT_ONCE).map(|thread| {
            std::thread::Builder::new().spawn(move || -> Result<()> {
                for number in (thread..PEOPLE).step_by(AT_ONCE as usize) {
                    let mut chance = Chance(u64::from(number) + 1);
                    person(client_address(number), to, one_in, &mut chance)?;
                    // All of them within about ten seconds.
                    let due = begun + Duration::from_millis(10) * number;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                Ok(())
            })
        });
        let threads: Vec<_> = threads.collect::<std::io::Result<_>>()?;
        threads.into_iter().try_for_each(|one| joined(one.join()))
    })?
}

fn person(from: Ipv4Addr, to: SocketAddr, one_in: usize, chance: &mut Chance) -> Result<()> {
    let mut visitor = Visitor::connect(Some(from), to)?;
    visitor.get("/", "/")?;
    for asset in ASSETS {
        visitor.get(asset, "/")?;
    }
    for _ in 0..2 + chance.below(4) {
        let path = if chance.below(one_in) == 0 {
            DEAD[chance.below(DEAD.len())].to_owned()
        } else {
            match chance.below(4) {
                0 => "/about".to_owned(),
                1 => format!("/blog/{}", 1 + chance.below(ARTICLES)),
                2 => format!("/products/{}", 1 + chance.below(PRODUCTS)),
                _ => format!("/api/items/{}", 1 + chance.below(4)),
            }
        };
        visitor.get(&path, "/")?;
    }
    Ok(())
}

/// A thread's result; its panic is resumed here.
fn joined<T>(result: std::thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
