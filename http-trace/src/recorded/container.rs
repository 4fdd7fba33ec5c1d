//! Takes a log line out of the envelope in which a container's runtime keeps it: CRI (`TIME STREAM TAG LINE`, by
//! containerd and CRI-O) or Docker's json-file. Knows no format of the lines.

use serde_json::Value;

use super::parts::time;

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
    time(std::str::from_utf8(when).ok()?)?;
    let ends = match tags.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Written { text: words.next().unwrap_or_default().to_vec(), ends, is_stderr })
}
