//! Field lines as an object: lower-case name to values in the order sent. Must not choose or redact.

use std::collections::HashMap;

use super::value::{comma, lower_string};
use crate::sink::choice::HeaderChoice;
use crate::text::json_string;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

/// Appends an object of the chosen fields. Returns whether any byte was written as `\xNN`.
pub fn headers(out: &mut Vec<u8>, headers: &Headers, choice: &HeaderChoice) -> bool {
    // Grouping few lines is quadratic, which an attacker could exploit with many.
    const FEW: usize = 48;
    out.push(b'{');
    let escaped = if headers.len() <= FEW {
        few_headers(out, headers, choice)
    } else {
        many_headers(out, headers, choice)
    };
    out.push(b'}');
    escaped
}

/// Appends a list of the chosen fields as sent: objects with `name` and `value`. Returns whether any byte was
/// written as `\xNN`.
pub fn pairs(out: &mut Vec<u8>, headers: &Headers, choice: &HeaderChoice) -> bool {
    let mut escaped = false;
    out.push(b'[');
    for line in headers.iter().filter(|line| choice.admits(line.name)) {
        comma(out);
        out.extend_from_slice(b"{\"name\":");
        escaped |= json_string(out, line.name);
        out.extend_from_slice(b",\"value\":");
        escaped |= json_string(out, line.value);
        out.push(b'}');
    }
    out.push(b']');
    escaped
}

fn few_headers(out: &mut Vec<u8>, headers: &Headers, choice: &HeaderChoice) -> bool {
    let mut escaped = false;
    // One bit per line whose value has been written.
    let mut done = 0_u64;
    for (at, line) in headers.iter().enumerate() {
        if done & 1 << at != 0 || !choice.admits(line.name) {
            continue;
        }
        escaped |= match line.known {
            Known::NONE => lower_key(out, line.name),
            // In lower case already, with nothing to escape.
            known => plain_key(out, Known::name(known.number())),
        };
        out.push(b'[');
        escaped |= json_string(out, line.value);
        for (later, value) in headers.later_lines(at) {
            done |= 1 << later;
            out.push(b',');
            escaped |= json_string(out, value);
        }
        out.push(b']');
    }
    escaped
}

fn many_headers(out: &mut Vec<u8>, headers: &Headers, choice: &HeaderChoice) -> bool {
    let mut escaped = false;
    let mut groups: Vec<(Vec<u8>, Vec<&[u8]>)> = Vec::new();
    let mut place: HashMap<Vec<u8>, usize, foldhash::quality::RandomState> = HashMap::default();
    for line in headers.iter() {
        if !choice.admits(line.name) {
            continue;
        }
        let name = line.name.to_ascii_lowercase();
        match place.get(&name) {
            Some(group) => groups[*group].1.push(line.value),
            None => {
                place.insert(name.clone(), groups.len());
                groups.push((name, vec![line.value]));
            }
        }
    }
    for (name, values) in groups {
        escaped |= lower_key(out, &name);
        out.push(b'[');
        for value in values {
            comma(out);
            escaped |= json_string(out, value);
        }
        out.push(b']');
    }
    escaped
}

fn plain_key(out: &mut Vec<u8>, name: &[u8]) -> bool {
    comma(out);
    out.push(b'"');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
    false
}

/// Appends a field name in lower case as a key.
fn lower_key(out: &mut Vec<u8>, name: &[u8]) -> bool {
    comma(out);
    let escaped = lower_string(out, name);
    out.push(b':');
    escaped
}
