//! Takes a log line out of the envelope in which a container's runtime keeps it: CRI (`TIME STREAM TAG LINE`, by
//! containerd and CRI-O) or Docker's json-file, and away from what commands that show it write before it. Knows no
//! format of the lines.

use serde_json::Value;

use super::parts::{time, utf8};

/// A line that a container wrote, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub text: Vec<u8>,
    /// Whether the line ends here; otherwise the next one of its stream continues it.
    pub ends: bool,
    /// Whether it was written to standard error, which is mostly not an access log.
    pub is_stderr: bool,
}

/// What is in the envelope, if the line is one.
pub(super) fn written(line: &[u8]) -> Option<Written> {
    if line.starts_with(br#"{"log":"#) {
        let file: Value = serde_json::from_slice(line).ok()?;
        let [log, stream] = ["log", "stream"].map(|name| file[name].as_str());
        let (text, is_stderr) = (log?.as_bytes().to_vec(), stream? == "stderr");
        return Some(Written { ends: text.ends_with(b"\n"), text, is_stderr });
    }
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (when, stream, tags) = (words.next()?, words.next()?, words.next()?);
    let is_stderr = match stream {
        b"stdout" => false,
        b"stderr" => true,
        _ => return None,
    };
    time(utf8(when)?)?;
    let ends = match tags.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Written { text: words.next().unwrap_or_default().to_vec(), ends, is_stderr })
}

/// The line behind what `docker compose logs` (`NAME | `), `kubectl logs --prefix` (`[pod/NAME/NAME] `) and either's
/// option for times (`TIME `) write before it; `None` if there is nothing.
pub(super) fn shown(line: &[u8]) -> Option<&[u8]> {
    let named = of_compose(line).or_else(|| of_pod(line));
    let rest = named.unwrap_or(line);
    let (first, after) = rest.split_at(memchr::memchr(b' ', rest)?);
    let is_time = utf8(first).and_then(time).is_some();
    if is_time { Some(after.trim_ascii_start()) } else { named }
}

fn of_compose(line: &[u8]) -> Option<&[u8]> {
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(byte);
    let end = line.iter().position(|byte| !is_of_name(byte))?;
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_ascii_start().strip_prefix(b"| ")?;
    name.first()?.is_ascii_alphabetic().then_some(rest)
}

fn of_pod(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"[pod/")?;
    rest[memchr::memchr(b']', rest)? + 1..].strip_prefix(b" ")
}
