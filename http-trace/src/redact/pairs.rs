//! Secrets in a text: values after names that denote secrets, as written in JSON, forms, settings, source
//! code and header dumps. Parses no format, because bodies may be truncated and error messages have none.

use super::context::Context;

/// Longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// Longest word that is taken for a value on the line after its name, in bytes.
const LONGEST_WORD: usize = 1024;

/// What stands around names and values, as written where a quote is not itself: JSON in a string of JSON, and that in
/// another.
const QUOTES: &[&[u8]] =
    &[b"\\\\\\\"", b"\\\"", b"\\'", b"\"", b"'", b"`", b"&quot;", b"&#34;", b"&#39;", b"&apos;"];

/// Authentication schemes (RFC 9110 §11.1): the value continues after the space.
const SCHEMES: &[&[u8]] = &[b"basic", b"bearer", b"digest", b"negotiate", b"token"];

/// Adds the ranges of values whose name `is_secret`, after `=`, and after `:` where colons count: in a URL
/// only within a query that contains JSON or GraphQL.
pub(super) fn secrets(
    text: &[u8],
    cx: &Context,
    is_secret: &dyn Fn(&[u8]) -> bool,
    cuts: &mut Vec<(usize, usize)>,
) {
    let query = match (cx.colons, cx.query) {
        (true, _) | (_, true) => Some(0),
        _ => memchr::memchr(b'?', text),
    };
    // End of the last value that was cut out.
    let mut done = 0;
    // Ends that many pairs share, so that each is searched for once: of the path segment or query of a URL, and of the
    // text before a `value`, in which every `key` is a name.
    let (mut part, mut beside) = (0, 0);
    for pair in pairs(text) {
        let counts = match pair.by {
            // Base64 padding does not follow a name.
            b'=' => {
                text.get(pair.at + 1) != Some(&b'=')
                    || text.get(pair.at + 2).is_some_and(u8::is_ascii_alphanumeric)
            }
            _ => query.is_some_and(|query| pair.at > query),
        };
        if pair.at < done || !counts || !is_secret(pair.name) {
            continue;
        }
        let in_url = !cx.colons;
        let rest = &text[pair.at + 1..];
        if in_url && pair.by == b':' && !pair.quoted && !begins_quoted(rest) {
            continue;
        }
        let is_key = pair.name.eq_ignore_ascii_case(b"key") && pair.by == b':';
        if is_key && pair.at < beside {
            continue;
        }
        let mut within = text;
        if in_url && pair.by == b'=' {
            // In a URL's path, or loose in its query; parameters are handled elsewhere.
            let from = pair.start(text).0;
            if part < from {
                let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#') || cx.ends.contains(b);
                let len = text[from..].iter().position(is_end);
                part = len.map_or(text.len(), |len| from + len);
            }
            within = &text[..part];
        }
        let (from, to) = pair.value(within);
        // A `key` next to a `value` is itself a name.
        let near = &text[to..text.len().min(to + 64)];
        let is_name = is_key && memchr::memmem::find(near, b"value").is_some();
        if is_name {
            beside = to;
        }
        if to > from && !is_name {
            cuts.push((from, to));
            done = to;
        }
    }
}

/// Adds the ranges of tokens in a list of subprotocols: an item after one that announces it, and the rest of
/// an item after a dot or dash: `bearer, TOKEN`, `base64url.bearer.authorization.k8s.io.TOKEN`.
pub(super) fn protocols(
    text: &[u8],
    is_secret: &dyn Fn(&[u8]) -> bool,
    cuts: &mut Vec<(usize, usize)>,
) {
    let (mut at, mut announced) = (0, false);
    for item in text.split(|b| *b == b',') {
        let name = item.trim_ascii();
        let from = at + (item.len() - item.trim_ascii_start().len());
        let to = from + name.len();
        let mut ends = memchr::memchr3_iter(b'.', b'-', b':', name);
        let end = ends.find(|end| is_secret(&name[..*end]) && end + 1 < name.len());
        match end {
            _ if name.is_empty() => {}
            _ if announced => cuts.push((from, to)),
            Some(end) => cuts.push((from + end + 1, to)),
            None => {}
        }
        announced = end.is_none() && is_secret(name);
        at += item.len() + 1;
    }
}

fn begins_quoted(text: &[u8]) -> bool {
    let blanks = text.iter().take_while(|b| is_blank(b)).count();
    QUOTES.iter().any(|quote| text[blanks..].starts_with(quote))
}

/// Whether a byte is a space or tab, or a space in form encoding.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'+')
}

/// A name, and the position of the separator before its value.
pub(super) struct Pair<'a> {
    pub(super) name: &'a [u8],
    /// Position of the `:` or `=`.
    pub(super) at: usize,
    by: u8,
    quoted: bool,
}

/// All possible names with a value.
pub(super) fn pairs(text: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    memchr::memchr2_iter(b':', b'=', text).map(move |at| {
        let (name, quoted) = name_before(&text[..at]);
        Pair { name, at, by: text[at], quoted }
    })
}

/// The name at the end of a text, without quotes and whitespace, and whether it is quoted.
fn name_before(text: &[u8]) -> (&[u8], bool) {
    let mut before = text;
    let mut quoted = false;
    loop {
        before = before.trim_ascii_end();
        // Most names are not quoted.
        if before.last().is_some_and(u8::is_ascii_alphanumeric) {
            break;
        }
        let Some(quote) = QUOTES.iter().find(|quote| before.ends_with(quote)) else {
            break;
        };
        before = &before[..before.len() - quote.len()];
        quoted = true;
    }
    let before = &before[before.len().saturating_sub(LONGEST_NAME)..];
    let of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let start = before.iter().rposition(|b| !of_name(b));
    (&before[start.map_or(0, |at| at + 1)..], quoted)
}

impl Pair<'_> {
    /// Start of the value, within its quotes, and these.
    fn start(&self, text: &[u8]) -> (usize, Option<&'static [u8]>) {
        let at = self.at + 1;
        let at = at + usize::from(self.has_arrow(text));
        let from = self.value_start(text, at, self.is_form(text));
        let rest = &text[from..];
        // Python's b'…' and u'…'.
        let prefix = match rest {
            [b'b' | b'B' | b'r' | b'u' | b'U', b'"' | b'\'', ..] => 1,
            _ => 0,
        };
        match QUOTES.iter().find(|q| rest[prefix..].starts_with(q)) {
            Some(quote) => (from + prefix + quote.len(), Some(quote)),
            None => (from, None),
        }
    }

    /// Whether it is `name => value`.
    fn has_arrow(&self, text: &[u8]) -> bool {
        self.by == b'=' && text.get(self.at + 1) == Some(&b'>')
    }

    /// Whether it is `name=value`, as in forms.
    fn is_form(&self, text: &[u8]) -> bool {
        self.by == b'=' && !self.has_arrow(text)
    }

    /// Start and end of the value: within its quotes or brackets, otherwise up to a terminator. After a colon
    /// that may be the end of the line, because header values contain spaces; in JSON it is the end of a
    /// number.
    pub(super) fn value(&self, text: &[u8]) -> (usize, usize) {
        let form = self.is_form(text);
        let like_json = self.quoted || self.has_arrow(text);
        let (from, quote) = self.start(text);
        if let Some(quote) = quote {
            return (from, end_of_quoted(text, from, quote));
        }
        let rest = &text[from..];
        if matches!(rest.first(), Some(b'[' | b'{')) {
            return (from, end_of_group(text, from));
        }
        if let Some(end) = end_of_block(rest).filter(|_| !form) {
            return (from, from + end);
        }
        let ends = |b: &u8| match b {
            b'\r' | b'\n' | b'"' | b'<' | b'>' => true,
            b'&' | b';' | b' ' | b'\t' => form,
            b',' | b'}' | b']' => like_json && !form,
            _ => false,
        };
        let end = |from: usize| text[from..].iter().position(ends).unwrap_or(text.len() - from);
        let mut len = end(from);
        if rest.get(len) == Some(&b' ')
            && SCHEMES.iter().any(|s| s.eq_ignore_ascii_case(&rest[..len]))
        {
            len += 1 + end(from + len + 1);
        }
        (from, from + len)
    }

    /// Skips spaces and, where a value may be on the next line, line ends: after a quoted name, if the next
    /// line is indented, or if it consists of a single word.
    fn value_start(&self, text: &[u8], at: usize, form: bool) -> usize {
        if begins_quoted(&text[at..]) {
            return at + text[at..].iter().take_while(|b| is_blank(b)).count();
        }
        let blanks = at + (text[at..].iter().take_while(|b| matches!(b, b' ' | b'\t'))).count();
        let lines = at + blanks_and_lines(&text[at..]);
        if lines == blanks {
            return blanks;
        }
        let indented = matches!(text[lines - 1], b' ' | b'\t');
        match self.quoted || indented && !form || is_lone_word(&text[lines..]) {
            true => lines,
            false => blanks,
        }
    }
}

/// Number of leading whitespace characters, including escaped line ends.
fn blanks_and_lines(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += match &text[at..] {
            [byte, ..] if byte.is_ascii_whitespace() => 1,
            [b'\\', b'n' | b'r' | b't', ..] => 2,
            _ => return at,
        };
    }
}

/// Whether a line is a single word, possibly quoted, and not another name: if a value is left out, the next
/// name follows.
fn is_lone_word(line: &[u8]) -> bool {
    let line = &line[..line.len().min(LONGEST_WORD)];
    let end = line.iter().position(|b| matches!(b, b'\r' | b'\n'));
    let line = line[..end.unwrap_or(line.len())].trim_ascii();
    let first = line.first().copied().unwrap_or(b'<');
    let in_quotes = matches!(first, b'"' | b'\'' | b'`');
    let more = |b: &u8| matches!(b, b' ' | b'\t' | b'<' | b'>');
    let named = pairs(line).any(|pair| !pair.name.is_empty() && pair.at + 1 < line.len());
    in_quotes || !(named || matches!(first, b'<' | b'-' | b'[' | b'{') || line.iter().any(more))
}

/// The closing quote, or the end of the text. Escaped quotes, as in JSON within a JSON string, end with the
/// same escape.
fn end_of_quoted(text: &[u8], inside: usize, quote: &[u8]) -> usize {
    let mut at = inside;
    while let Some(byte) = text.get(at) {
        if text[at..].starts_with(quote) {
            return at;
        }
        at += if *byte == b'\\' { 2 } else { 1 };
    }
    text.len()
}

/// Position after the bracket that closes the one at `from`, or the end of the text.
fn end_of_group(text: &[u8], from: usize) -> usize {
    let (mut depth, mut quoted, mut at) = (0_usize, false, from);
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Length of a YAML block scalar: `|` or `>` and the indented lines after it.
fn end_of_block(rest: &[u8]) -> Option<usize> {
    rest.first().filter(|b| matches!(b, b'|' | b'>'))?;
    let mut end = memchr::memchr(b'\n', rest)?;
    let head = rest[1..end].trim_ascii();
    if head.len() > 2 {
        return None;
    }
    while matches!(rest.get(end + 1), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        end = memchr::memchr(b'\n', &rest[end + 1..]).map_or(rest.len(), |n| end + 1 + n);
    }
    Some(end)
}
