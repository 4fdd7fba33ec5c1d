//! A typical site: nginx with pages, assets, dead links, a protected folder and a rate-limited one, in front
//! of an application (`detect/app.py`).

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::need::program;
use crate::netns::{Namespace, Running};
use crate::nginx;

/// Address of the application.
pub const APP: ([u8; 4], u16) = ([127, 0, 0, 1], 8080);

/// Numbered product pages, from 1.
pub const PRODUCTS: usize = 30;
/// Numbered articles, from 1.
pub const ARTICLES: usize = 8;
/// Packages of the second index, from 1; the first index has none.
pub const PACKAGES: usize = 40;
/// Dead links of the site.
pub const DEAD: &[&str] =
    &["/old/1", "/old/2", "/old/3", "/old/4", "/team", "/press", "/products/31"];
/// Assets of each page that exist.
pub const ASSETS: &[&str] = &["/css/site.css", "/js/app.js", "/img/logo.png"];
/// Assets of each page that are missing.
pub const MISSING: &[&str] = &[
    "/js/app.js.map", "/css/site.css.map", "/img/banner.jpg", "/fonts/body.woff2",
    "/apple-touch-icon.png", "/manifest.json",
];

/// A running site. Ends on drop.
#[derive(Debug)]
pub struct Site {
    app: Option<Running>,
    nginx: Running,
    folder: TempDir,
}

impl Site {
    /// Starts it on port 80 of the namespace, and waits until both parts listen.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        write_pages(&folder.path().join("www"))?;
        // "admin" with the password "temp123", which is in the lists of the tools.
        std::fs::write(folder.path().join("users"), "admin:{PLAIN}temp123\n")?;
        let app = start_app(namespace)?;
        let nginx = nginx::start(namespace, folder.path(), 80, 1, &server(folder.path()))?;
        Ok(Site { app: Some(app), nginx, folder })
    }

    /// Ends the application; nginx then answers 502.
    pub fn end_app(&mut self) {
        self.app = None;
    }

    /// Starts the application again.
    pub fn restart_app(&mut self, namespace: &Namespace) -> Result<()> {
        self.app = Some(start_app(namespace)?);
        Ok(())
    }

    /// Pid of nginx's main process, and its folder.
    pub fn nginx(&self) -> (u32, &Path) {
        (self.nginx.pid(), self.folder.path())
    }
}

fn start_app(namespace: &Namespace) -> Result<Running> {
    let address = SocketAddr::from(APP);
    let mut command = Command::new(program("python3").context("python3 is not installed")?);
    command
        .args(["-c", include_str!("../../detect/app.py")])
        .arg(address.ip().to_string())
        .arg(address.port().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    namespace.serve(&mut command, address)
}

fn server(folder: &Path) -> String {
    let folder = folder.display();
    let app = SocketAddr::from(APP);
    format!(
        r#"    access_log off;
    types {{ text/html html; text/css css; text/javascript js; image/png png; text/plain txt; }}
    default_type text/html;
    sendfile on;
    client_header_timeout 8s;
    client_body_timeout 8s;
    limit_req_zone $binary_remote_addr zone=few:1m rate=5r/s;
    server {{
        listen 0.0.0.0:80 backlog=4096;
        root {folder}/www;
        index index.html;
        location / {{ try_files $uri $uri.html $uri/index.html =404; }}
        location /admin/ {{
            auth_basic "staff";
            auth_basic_user_file {folder}/users;
            try_files $uri/index.html =404;
        }}
        location /limited/ {{
            limit_req zone=few burst=5 nodelay;
            limit_req_status 429;
            try_files $uri/index.html =404;
        }}
        # One page for all: an application that routes in the browser.
        location /app/ {{ try_files /index.html =404; }}
        # Where a build cache keeps what it has made.
        location /cache/ {{
            dav_methods PUT DELETE;
            create_full_put_path on;
            client_max_body_size 0;
        }}
        location ~ ^/(api|item|search|view|login|signin|wp-login|account/|session$|telemetry$|graphql$|health) {{
            proxy_pass http://{app};
            proxy_connect_timeout 2s;
        }}
    }}
"#
    )
}

fn write_pages(www: &Path) -> Result<()> {
    let write = |name: &str, text: &str| -> Result<()> {
        let file = www.join(name);
        std::fs::create_dir_all(file.parent().context("a file in a folder")?)?;
        std::fs::write(&file, text).with_context(|| file.display().to_string())
    };
    let link = |to: &str| format!("<a href=\"{to}\">{to}</a>\n");
    let numbered = |folder: &str, count: usize| -> String {
        (1..=count).map(|n| link(&format!("/{folder}/{n}"))).collect()
    };
    let page = |text: &str| {
        let styles = "<link rel=\"stylesheet\" href=\"/css/site.css\">";
        let script = "<script src=\"/js/app.js\"></script><img src=\"/img/logo.png\">";
        format!("<!DOCTYPE html><html><head>{styles}</head><body>\n{text}{script}</body></html>\n")
    };
    let dead: String = DEAD.iter().map(|to| link(to)).collect();
    let forms = "<form action=\"/search\"><input name=\"q\"></form>\n\
                 <form action=\"/view\"><input name=\"file\" value=\"readme.txt\"></form>\n";
    let front: String = [
        "/about", "/contact", "/products/", "/blog/", "/item?id=1", "/view?file=readme.txt",
        "/login",
    ]
    .map(link)
    .concat();
    write("index.html", &page(&format!("{front}{forms}{dead}")))?;
    write("about.html", &page("about us\n"))?;
    write("contact.html", &page("write to us\n"))?;
    write("products/index.html", &page(&numbered("products", PRODUCTS)))?;
    write("blog/index.html", &page(&numbered("blog", ARTICLES)))?;
    for n in 1..=PRODUCTS {
        write(&format!("products/{n}.html"), &page(&format!("product {n}\n")))?;
    }
    for n in 1..=ARTICLES {
        write(&format!("blog/{n}.html"), &page(&format!("article {n}\n")))?;
    }
    for n in 1..=PACKAGES {
        let name = format!("pkg{n}-1.0-py3-none-any.whl");
        let file = format!("<a href=\"/mirror/files/{name}\">{name}</a>\n");
        write(&format!("mirror/simple/pkg{n}/index.html"), &file)?;
        write(&format!("mirror/files/{name}"), "not really a wheel\n")?;
        let name = format!("lib{n}");
        let model = format!(
            "<project><modelVersion>4.0.0</modelVersion><groupId>org.example</groupId>\
             <artifactId>{name}</artifactId><version>1</version><packaging>pom</packaging></project>\n"
        );
        let file = format!("mirror/maven/org/example/{name}/1/{name}-1.pom");
        write(&file, &model)?;
    }
    write("debian/dists/suitethere/Release", "Suite: suitethere\n")?;
    write("admin/index.html", &page("staff only\n"))?;
    write("limited/index.html", &page("not too often\n"))?;
    write("css/site.css", "body { margin: 0 }\n")?;
    write("js/app.js", "document.title;\n")?;
    // Large enough to be read slowly; no page links to it.
    write("archive.txt", &"all of it, line by line\n".repeat(100_000))?;
    write("img/logo.png", "not really a picture\n")?;
    write("favicon.ico", "nor this\n")?;
    write("robots.txt", "User-agent: *\nAllow: /\n")
}
