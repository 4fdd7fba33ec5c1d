//! Events of a busy site, made without a wire: pages, scripts, pictures and an API, requested by browsers and
//! programs, from hardened and default servers. For benches and tests of the stages after pairing. The same
//! seed gives the same events.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http_trace_model::event::{BodyEnd, Endpoint, HttpEvent};
use http_trace_model::head::{Headers, RequestHead, ResponseHead};

use crate::chance::Chance;

const HOSTS: [&str; 8] = [
    "www.example.com", "shop.example.com", "api.example.com", "static.example.com",
    "blog.example.org", "forum.example.org", "intranet.example.net:8080", "status.example.net",
];

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "python-requests/2.32.5",
    "okhttp/5.1.0",
];

/// Path, media type, and whether its number is random.
const PAGES: [(&str, &str); 12] = [
    ("/", "text/html; charset=utf-8"),
    ("/products/winter-jackets", "text/html; charset=utf-8"),
    ("/articles/2026/11/a-quiet-launch", "text/html"),
    ("/search?q=garden+furniture&page=#", "text/html; charset=utf-8"),
    ("/assets/app.#.js", "application/javascript"),
    ("/assets/site.#.css", "text/css"),
    ("/images/hero-#.webp", "image/webp"),
    ("/favicon.ico", "image/x-icon"),
    ("/api/v2/orders/#", "application/json"),
    ("/api/v2/cart?session=#", "application/json"),
    ("/account/settings/notifications", "text/html; charset=utf-8"),
    ("/media/clip-#.mp4", "video/mp4"),
];

/// Targets that are missing, forbidden or broken.
const ERRORS: [(&str, u16, &str); 10] = [
    ("/old/page-#.html", 404, "Not Found"),
    ("/images/gone-#.png", 404, "Not Found"),
    ("/wp-content/plugins/p#/readme.txt", 404, "Not Found"),
    ("/apple-touch-icon-#.png", 404, "Not Found"),
    ("/api/v2/reports", 401, "Unauthorized"),
    ("/admin/", 403, "Forbidden"),
    ("/private/#/list", 403, "Forbidden"),
    ("/api/v2/orders?limit=#", 500, "Internal Server Error"),
    ("/api/v2/search?q=#", 502, "Bad Gateway"),
    ("/api/v2/upload", 400, "Bad Request"),
];

/// Generates events.
#[derive(Clone, Debug)]
pub struct Visitors(Chance);

/// The address of a client, by number.
pub fn ip_of(client: u32) -> IpAddr {
    // From 11.0.0.0/8 on: none of them is internal.
    IpAddr::V4(Ipv4Addr::from(0x0b00_0001_u32.wrapping_add(client)))
}

impl Visitors {
    /// Time of the first event: 2026-11-20 09:00:00 UTC.
    pub const TIME_NS: u64 = 1_795_165_200_000_000_000;

    pub const fn new(seed: u64) -> Self {
        Visitors(Chance(seed))
    }

    /// The next event: an error or a success, at [`Visitors::TIME_NS`], from the first client.
    pub fn event(&mut self, error: bool) -> HttpEvent {
        let host = HOSTS[self.0.below(HOSTS.len())];
        let agent = AGENTS[self.0.below(AGENTS.len())];
        let number = self.0.below(5000).to_string();
        let (path, kind, status, reason) = if error {
            let (path, status, reason) = ERRORS[self.0.below(ERRORS.len())];
            (path, "text/html", status, reason)
        } else {
            let (path, kind) = PAGES[self.0.below(PAGES.len())];
            match self.0.below(20) {
                0 => (path, kind, 304, "Not Modified"),
                1 => (path, kind, 302, "Found"),
                _ => (path, kind, 200, "OK"),
            }
        };
        let mut request = vec![
            ("Host", host),
            ("User-Agent", agent),
            ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
            ("Accept-Language", "en-GB,en;q=0.5"),
            ("Accept-Encoding", "gzip, deflate, br"),
        ];
        let referrer = format!("https://{host}/products/winter-jackets");
        if self.0.below(2) == 0 {
            request.push(("Referer", &referrer));
        }
        if self.0.below(3) == 0 {
            request.push(("Cookie", "session=7d8f6a5b4c3e2d1f; theme=dark; consent=1"));
        }
        request.push(("Connection", "keep-alive"));
        let mut response = vec![
            ("Date", "Fri, 20 Nov 2026 09:00:00 GMT"),
            ("Content-Type", kind),
            ("Content-Length", "5120"),
            ("Connection", "keep-alive"),
            ("Cache-Control", "max-age=600"),
            ("ETag", "\"654374e0-1400\""),
            ("Vary", "Accept-Encoding"),
        ];
        // Every other host is hardened, the others have default settings.
        if host.len().is_multiple_of(2) {
            response.push(("Server", "nginx"));
            response.push(("X-Content-Type-Options", "nosniff"));
            response.push(("Content-Security-Policy", "default-src 'self'"));
        } else {
            response.push(("Server", "nginx/1.28.0"));
        }
        if status == 302 {
            response.push(("Location", "/account/login"));
        }
        let client = Endpoint { ip: ip_of(0), port: 40_000 };
        let server = Endpoint {
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10 + host.len() as u8 % 3)),
            port: 80,
        };
        let time_ns = Self::TIME_NS;
        let mut event = HttpEvent::new(time_ns, client, server);
        event.request_start_ns = Some(time_ns - 2_100_000);
        event.request_end_ns = Some(time_ns - 2_000_000);
        event.response_start_ns = Some(time_ns);
        event.head_end_ns = Some(time_ns);
        event.response_end_ns = Some(time_ns + 300_000);
        event.request = Some(RequestHead {
            method: Bytes::from_static(if path.ends_with("upload") { b"POST" } else { b"GET" }),
            target: path.replace('#', &number).into(),
            minor_version: 1,
            version: None,
            headers: headers(&request),
            wire_len: 420,
        });
        event.response = Some(ResponseHead {
            minor_version: 1,
            version: None,
            status,
            reason: Bytes::from_static(reason.as_bytes()),
            headers: headers(&response),
            content_length: Some(5120),
            wire_len: 310,
            first_byte_ns: time_ns,
        });
        event.request_body_bytes = Some(0);
        event.body_bytes = Some(5120);
        event.response_bytes = Some(5430);
        event.body_end = Some(BodyEnd::Length);
        event
    }
}

/// Slices of one head's bytes, as the decoder returns them.
fn headers(lines: &[(&str, &str)]) -> Headers {
    let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = Bytes::from(text);
    let mut headers = Headers::of(&text, lines.len());
    let mut at = 0;
    for (name, value) in lines {
        let value_at = at + name.len() + 2;
        headers.push_part(
            &text,
            &text[at..at + name.len()],
            &text[value_at..value_at + value.len()],
        );
        at = value_at + value.len() + 2;
    }
    headers
}
