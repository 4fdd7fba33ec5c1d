//! A set of nftables whose elements expire (nft(8), "SETS"), managed with the program `nft`: looks it up,
//! creates, fills, lists and empties it. Decides nothing about clients.

use std::fmt;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long `nft` may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where banned clients are stored: two sets in a table, one per IP version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    family: Family,
    table: String,
    name: String,
}

http_trace_model::named_enum! {
    /// Table families that see packets between hosts.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Family {
        /// Both IP versions.
        Inet = "inet",
        Ip = "ip",
        Ip6 = "ip6",
    }
}

/// A banned client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    pub client: IpAddr,
    /// Time left; `None` if the ban does not expire.
    pub left: Option<Duration>,
    /// Its comment: the rule, for bans of ours.
    pub comment: Option<String>,
}

/// One of the two sets of a [`Set`].
struct Half {
    name: String,
    /// `ipv4_addr` or `ipv6_addr`.
    of: &'static str,
    /// `ip` or `ip6`, as written in rules.
    protocol: &'static str,
}

impl FromStr for Set {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANT: &str = "nft:TABLE/SET, or nft:FAMILY/TABLE/SET with inet, ip or ip6; names are \
                            letters, digits, _ and -, and begin with a letter";
        let words: Vec<&str> = text.strip_prefix("nft:").ok_or(WANT)?.split('/').collect();
        let (family, table, name) = match words[..] {
            [table, name] => (Family::Inet, table, name),
            [family, table, name] => (Family::named(family).ok_or(WANT)?, table, name),
            _ => return Err(WANT),
        };
        let is_name = |name: &str| {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
                && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
                && name.len() < 32
        };
        match is_name(table) && is_name(name) {
            true => Ok(Set { family, table: table.to_owned(), name: name.to_owned() }),
            false => Err(WANT),
        }
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nft:{}/{}/{}", self.family.name(), self.table, self.name)
    }
}

impl Set {
    /// Whether there is a set for clients of this IP version.
    pub const fn takes(&self, client: IpAddr) -> bool {
        match self.family {
            Family::Inet => true,
            Family::Ip => client.is_ipv4(),
            Family::Ip6 => client.is_ipv6(),
        }
    }

    fn halves(&self) -> Vec<Half> {
        let half =
            |suffix, of, protocol| Half { name: format!("{}{suffix}", self.name), of, protocol };
        match self.family {
            Family::Inet => vec![half("", "ipv4_addr", "ip"), half("6", "ipv6_addr", "ip6")],
            Family::Ip => vec![half("", "ipv4_addr", "ip")],
            Family::Ip6 => vec![half("", "ipv6_addr", "ip6")],
        }
    }

    /// Formats `inet TABLE`.
    fn place(&self) -> String {
        format!("{} {}", self.family.name(), self.table)
    }

    fn name_for(&self, client: IpAddr) -> String {
        let is_second = self.family == Family::Inet && client.is_ipv6();
        format!("{}{}", self.name, if is_second { "6" } else { "" })
    }

    /// Looks up the sets, or creates them together with a table that refuses their elements. Returns the
    /// elements. Nothing is created in an existing table, because it belongs to somebody else.
    ///
    /// # Errors
    /// A message: `nft` is missing, permission is missing, or a set does not exist, is no set of addresses with
    /// timeouts, or is used by no rule.
    pub fn prepare(&self, reset: bool) -> Result<Vec<Element>, String> {
        if !self.has_table()? {
            nft(&["-f", "-"], &self.script(reset))?;
            return self.list();
        }
        let elements = self.list()?;
        // Rules see only the sets of their own table.
        let rules =
            objects(&nft(&["-j", "list", "table", self.family.name(), &self.table], "")?, "rule")?;
        match self.halves().iter().find(|half| !rules.iter().any(|rule| is_used(rule, &half.name)))
        {
            Some(half) => Err(self.no_rule(half)),
            None => Ok(elements),
        }
    }

    fn has_table(&self) -> Result<bool, String> {
        let tables = nft(&["-j", "list", "tables", self.family.name()], "")?;
        let tables = objects(&tables, "table")?;
        Ok(tables.iter().any(|table| table["name"] == self.table.as_str()))
    }

    /// The script for a table that refuses banned clients, as destination and as router, before other
    /// filters.
    fn script(&self, reset: bool) -> String {
        use std::fmt::Write as _;
        let mut out = format!("table {} {{\n", self.place());
        for half in self.halves() {
            let (name, of) = (half.name, half.of);
            let _ = writeln!(out, "  set {name} {{ type {of}; flags timeout; }}");
        }
        for hook in ["input", "forward"] {
            let _ = writeln!(
                out,
                "  chain {hook} {{\n    type filter hook {hook} priority -10; policy accept;"
            );
            for half in self.halves() {
                let (name, protocol) = (half.name, half.protocol);
                if reset {
                    let _ = writeln!(
                        out,
                        "    {protocol} saddr @{name} meta l4proto tcp reject with tcp reset"
                    );
                }
                let _ = writeln!(out, "    {protocol} saddr @{name} drop");
            }
            out.push_str("  }\n");
        }
        out.push_str("}\n");
        out
    }

    /// The elements of the sets.
    pub fn list(&self) -> Result<Vec<Element>, String> {
        if !self.has_table()? {
            let place = self.place();
            return Err(format!("nft has no table {place}; a run with --ban-for creates it"));
        }
        let place = ["-j", "list", "table", self.family.name(), &self.table];
        let text = nft(&place, "")?;
        let sets = objects(&text, "set")?;
        let mut elements = Vec::new();
        for half in self.halves() {
            let Some(set) = sets.iter().find(|set| set["name"] == half.name.as_str()) else {
                return Err(self.no_set(&half));
            };
            let has_timeout = set["flags"]
                .as_array()
                .is_some_and(|flags| flags.iter().any(|flag| flag == "timeout"));
            if set["type"] != half.of || !has_timeout {
                return Err(format!(
                    "the set {} of nft table {} does not have type {} and flag timeout; give \
                     another name",
                    half.name,
                    self.place(),
                    half.of
                ));
            }
            let there = set["elem"].as_array().into_iter().flatten();
            elements.extend(there.filter_map(element));
        }
        Ok(elements)
    }

    fn no_set(&self, half: &Half) -> String {
        let (name, place) = (&half.name, self.place());
        format!(
            "nft table {place} has no set {name}: create it with `nft add set {place} {name} '{{ \
             type {}; flags timeout; }}'` and add a rule that drops `{} saddr @{name}`; or name a \
             new table, which is then created with both",
            half.of, half.protocol
        )
    }

    fn no_rule(&self, half: &Half) -> String {
        let (name, place, protocol) = (&half.name, self.place(), half.protocol);
        format!(
            "no rule of nft table {place} uses the set {name}, so a ban would have no effect: add one, as in `nft add \
             rule {place} input {protocol} saddr @{name} drop`; or name a new table, which is then created with rules"
        )
    }

    /// Adds clients to the sets, each with a timeout and a comment.
    ///
    /// # Errors
    /// The message of `nft`; no client is added then.
    pub fn add<'a>(
        &self,
        clients: impl IntoIterator<Item = (IpAddr, Duration, &'a str)>,
    ) -> Result<(), String> {
        use std::fmt::Write as _;
        let mut script = String::new();
        for (client, lasts, comment) in clients {
            let _ = writeln!(
                script,
                "add element {} {} {{ {client} timeout {}s comment \"{}\" }}",
                self.place(),
                self.name_for(client),
                lasts.as_secs().max(1),
                quotable(comment)
            );
        }
        nft(&["-f", "-"], &script).map(drop)
    }

    /// Removes clients from the sets. A client that is not in a set is no error.
    pub fn lift(&self, clients: &[IpAddr]) -> Result<(), String> {
        let there = self.list()?;
        let there: Vec<&IpAddr> = there.iter().map(|element| &element.client).collect();
        let clients: Vec<&IpAddr> = clients.iter().filter(|ip| there.contains(ip)).collect();
        let line = |ip: &&IpAddr| {
            let (place, name) = (self.place(), self.name_for(**ip));
            format!("delete element {place} {name} {{ {ip} }}\n")
        };
        let script: String = clients.iter().map(line).collect();
        if nft(&["-f", "-"], &script).is_ok() {
            return Ok(());
        }
        // If one has expired meanwhile, none is removed: retry one by one.
        for client in &clients {
            let _ = nft(&["-f", "-"], &line(client));
        }
        let left = self.list()?;
        match clients.iter().find(|ip| left.iter().any(|e| e.client == ***ip)) {
            Some(client) => Err(format!("nft cannot remove {client} from {self}")),
            None => Ok(()),
        }
    }
}

/// The objects of one kind in the output of `nft -j` (libnftables-json(5)).
fn objects(text: &str, kind: &str) -> Result<Vec<Value>, String> {
    let mut all: Value =
        serde_json::from_str(text).map_err(|error| format!("nft printed no JSON: {error}"))?;
    let list = all["nftables"].as_array_mut().map(std::mem::take);
    let of_kind = |mut object: Value| object.get_mut(kind).map(Value::take);
    Ok(list.into_iter().flatten().filter_map(of_kind).collect())
}

/// Whether a part of a rule looks a set up by its name. A statement that adds to the set has the name under `set`.
fn is_used(part: &Value, name: &str) -> bool {
    match part {
        Value::String(text) => text.strip_prefix('@') == Some(name),
        Value::Array(parts) => parts.iter().any(|part| is_used(part, name)),
        Value::Object(parts) => parts
            .iter()
            .any(|(key, part)| !(key == "set" && part.is_string()) && is_used(part, name)),
        _ => false,
    }
}

/// An element that is a single address; sets may also contain networks and ranges.
fn element(value: &Value) -> Option<Element> {
    let inner = value.get("elem").unwrap_or(value);
    let address = inner.get("val").unwrap_or(inner).as_str()?;
    Some(Element {
        client: address.parse().ok()?,
        left: inner["expires"].as_u64().map(Duration::from_secs),
        comment: inner["comment"].as_str().map(str::to_owned),
    })
}

/// A text that is valid as a comment: rule ids are arbitrary.
fn quotable(text: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '\'',
        c if c.is_control() => ' ',
        c => c,
    };
    text.chars().map(plain).take(96).collect()
}

/// Reads everything on a separate thread.
fn read(from: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (done, all) = sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.map(|mut from| from.read_to_end(&mut bytes));
        let _ = done.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    all
}

/// Runs the program and returns its output.
fn nft(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new("nft");
    command.args(arguments).env_clear();
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "nft not found in PATH; install nftables".to_owned(),
        _ => format!("nft: {error}"),
    })?;
    // If it exits early, its output says why.
    let (stdin, input) = (child.stdin.take(), input.to_owned());
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
    let (printed, said) = (read(child.stdout.take()), read(child.stderr.take()));
    let deadline = Instant::now() + PATIENCE;
    let end = |from: &Receiver<String>| {
        from.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    };
    let status = match (end(&printed), end(&said)) {
        (Ok(printed), Ok(said)) => child.wait().map(|status| (status, printed, said)),
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("nft did not end in {} s", PATIENCE.as_secs()));
        }
    };
    let (status, printed, said) = status.map_err(|error| format!("nft: {error}"))?;
    if status.success() {
        return Ok(printed);
    }
    let first = said.lines().find(|line| !line.trim().is_empty());
    let first = first.unwrap_or("failed without a message").trim();
    let hint = match first.contains("Operation not permitted") {
        true => " (it needs CAP_NET_ADMIN)",
        false => "",
    };
    Err(format!("nft: {first}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_named() {
        for (text, shown) in [
            ("nft:filter/banned", "nft:inet/filter/banned"),
            ("nft:inet/http-trace/banned", "nft:inet/http-trace/banned"),
            ("nft:ip/t/s_1", "nft:ip/t/s_1"),
            ("nft:ip6/t/s", "nft:ip6/t/s"),
        ] {
            let set: Set = text.parse().expect(text);
            assert_eq!(set.to_string(), shown);
        }
        for text in [
            "", "nft:", "nft:t", "nft:/s", "nft:t/", "nft:t/s;flush", "nft:t/s x", "nft:arp/t/s",
            "nft:t/1s", "nft:a/b/c/d", "ipset:t/s", "nft:t/-s",
        ] {
            assert!(text.parse::<Set>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_nft_lists_is_read() {
        let text = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"name":"t"}},
            {"set":{"family":"inet","name":"s","table":"t","type":"ipv4_addr","flags":["timeout"],
            "elem":["192.0.2.1",{"elem":{"val":"192.0.2.2","timeout":60,"expires":59,"comment":"r"}},
            {"prefix":{"addr":"192.0.2.0","len":24}}]}}]}"#;
        let sets = objects(text, "set").expect("JSON");
        let elements = sets[0]["elem"].as_array().expect("elements");
        let elements: Vec<Element> = elements.iter().filter_map(element).collect();
        let of = |ip: &str, left: Option<u64>, comment: Option<&str>| Element {
            client: ip.parse().expect("an address"),
            left: left.map(Duration::from_secs),
            comment: comment.map(str::to_owned),
        };
        let expected = [of("192.0.2.1", None, None), of("192.0.2.2", Some(59), Some("r"))];
        assert_eq!(elements, expected);
        assert!(objects("no json", "set").is_err());
        assert_eq!(objects("{}", "set"), Ok(Vec::new()));
    }

    #[test]
    fn a_set_is_used_by_rules_that_look_it_up() {
        for (expression, expected) in [
            (r#"[{"match":{"op":"==","left":{"payload":{}},"right":"@s"}},{"drop":null}]"#, true),
            (r#"[{"match":{"op":"!=","left":{"payload":{}},"right":"@s"}},{"accept":null}]"#, true),
            (r#"[{"match":{"op":"==","left":{"payload":{}},"right":"@s6"}},{"drop":null}]"#, false),
            (r#"[{"match":{"op":"==","left":{"payload":{}},"right":"s"}},{"drop":null}]"#, false),
            (r#"[{"set":{"op":"update","elem":{"elem":{"val":{}}},"set":"@s"}}]"#, false),
            ("[]", false),
        ] {
            let expression: Value = serde_json::from_str(expression).expect("JSON");
            let rule = serde_json::json!({"table": "t", "comment": "s", "expr": expression});
            assert_eq!(is_used(&rule, "s"), expected, "{rule}");
        }
    }

    #[test]
    fn a_comment_ends_no_command() {
        assert_eq!(quotable("a\" }\ndelete \\"), "a' } delete '");
    }
}
