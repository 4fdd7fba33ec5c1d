//! Secrets recognised by their shape anywhere in a text: tokens with a prefix, JWTs, private keys,
//! credentials after an authentication scheme, tokens in paths of webhooks and bots. Finds ranges and changes
//! nothing.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use memchr::memmem;

use super::context::Context;

/// What follows the prefix of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// At least this many letters, digits, `-` and `_`.
    Token(usize),
    /// The same, and dots.
    Dotted(usize),
    /// The same, and what else base64 has.
    Base64(usize),
    /// Exactly this many capitals and digits.
    Capitals(usize),
    /// The rest of a JWT.
    Jwt,
    /// A private key up to its end line.
    Key,
    /// Number and token of a bot.
    Bot,
    /// Path segments that look like tokens.
    Hook,
}

/// All shapes by tail and prefixes. With at most 64 prefixes they are searched for with vector instructions.
pub(super) const SHAPES: &[(Tail, &str)] = &[
    // Base64 of `{"`, `{ `, and `{` followed by a line end or tab.
    (Tail::Jwt, "eyJ eyA ewo ew0 ewk"),
    (Tail::Key, "-----BEGIN"),
    (Tail::Bot, "/bot"),
    // Slack: /services/T…, /workflows/T…, /triggers/T….
    (Tail::Hook, "hook s/T"),
    (Tail::Capitals(16), "AKIA ASIA"),
    (Tail::Token(10), "sk_live_ sk_test_ rk_live_ rk_test_"),
    (Tail::Token(16), "whsec_"),
    (
        Tail::Token(20),
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ gldt- glptt- glcbt- gloas- glft- glimt- xapp- sk- GOCSPX- \
         sq0atp- sq0csp- dckr_pat_ glsa_ lin_api_ figd_ PMAK- NRAK- xkeysib- AGE-SECRET-KEY-1 \
         tskey-",
    ),
    (Tail::Token(30), "npm_ pypi- rubygems_ dop_v1_ hf_ shpat_ shpss_ ATATT3"),
    (Tail::Token(32), "key-"),
    (Tail::Token(35), "AIza"),
    // The latter are Facebook's.
    (Tail::Token(40), "ZXlK EAA"),
    // Session tokens of AWS, and tokens of Sentry.
    (Tail::Base64(40), "FwoGZXIvYXdz IQoJb3JpZ2lu sntry"),
    // Slack, with one letter more.
    (Tail::Dotted(12), "xox"),
    (Tail::Dotted(20), "glpat- glrt- ya29. hvs."),
    (Tail::Dotted(40), "SG. .local."),
];

/// The automaton, and the tail of each pattern.
static AUTOMATON: LazyLock<Option<(AhoCorasick, Vec<Tail>)>> = LazyLock::new(|| {
    let rows = SHAPES.iter();
    let rows = rows.flat_map(|(tail, prefixes)| prefixes.split(' ').map(|prefix| (*tail, prefix)));
    let (tails, prefixes): (Vec<Tail>, Vec<&str>) = rows.unzip();
    let mut builder = AhoCorasick::builder();
    // Building this short constant table never fails, which a test checks.
    let automaton = builder.match_kind(MatchKind::LeftmostLongest).build(prefixes);
    Some((automaton.ok()?, tails))
});

/// Length of the shortest text that can contain a shape.
const SHORTEST: usize = 12;

/// Adds the ranges of all shapes in a text.
pub(super) fn secrets(text: &[u8], cx: &Context, cuts: &mut Vec<(usize, usize)>) {
    let Some((automaton, tails)) = AUTOMATON.as_ref().filter(|_| text.len() >= SHORTEST) else {
        return;
    };
    let (mut done, mut jwts) = (0, false);
    for found in automaton.find_iter(text) {
        let (from, at) = (found.start(), found.end());
        let tail = tails[found.pattern().as_usize()];
        if from < done {
            continue;
        }
        let begins = from == 0 || !text[from - 1].is_ascii_alphanumeric();
        let is_cut = |to: usize| cx.cut && to == text.len();
        let to = match tail {
            Tail::Jwt => {
                if !std::mem::replace(&mut jwts, true) {
                    self::jwts(text, from, cx, cuts);
                }
                continue;
            }
            Tail::Hook => {
                done = hook(text, at, cuts);
                continue;
            }
            Tail::Key => {
                let head = &text[at..text.len().min(at + 40)];
                let Some(begin) = memmem::find(head, b"PRIVATE") else {
                    continue;
                };
                let begin = at + begin;
                let begin = memmem::find(&text[begin..], b"-----")
                    .map_or(text.len(), |dashes| begin + dashes + 5);
                let end = memmem::find(&text[begin..], b"-----END");
                done = end.map_or(text.len(), |end| begin + end);
                if done > begin {
                    cuts.push((begin, done));
                }
                continue;
            }
            Tail::Bot => {
                let number = at + run(&text[at..], u8::is_ascii_digit);
                let token =
                    number + 1 + text.get(number + 1..).map_or(0, |rest| run(rest, is_token));
                if number >= at + 6 && text.get(number) == Some(&b':') && token > number + 20 {
                    cuts.push((at, token));
                    done = token;
                }
                continue;
            }
            _ if !begins && tail != Tail::Dotted(40) => continue,
            Tail::Token(least) | Tail::Dotted(least) | Tail::Base64(least) => {
                let more: &[u8] = match tail {
                    Tail::Dotted(_) => b".",
                    Tail::Base64(_) => b"+/=",
                    _ => b"",
                };
                let to = at + run(&text[at..], |b| is_token(b) || more.contains(b));
                (to >= at + least || is_cut(to)).then_some(to)
            }
            Tail::Capitals(len) => {
                let capital = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit();
                let to = at + run(&text[at..text.len().min(at + len + 1)], capital);
                let ends = to == at + len && !text.get(to).is_some_and(u8::is_ascii_alphanumeric);
                (ends || is_cut(to)).then_some(to)
            }
        };
        if let Some(to) = to {
            cuts.push((from, to));
            done = to;
        }
    }
}

fn run(text: &[u8], is: impl Fn(&u8) -> bool) -> usize {
    text.iter().position(|b| !is(b)).unwrap_or(text.len())
}

pub(super) fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Adds the ranges of JWTs (RFC 7519 §3) and JWE (RFC 7516 §3.1): base64 of an object up to a dot, followed
/// by claims. In a truncated text, a token at its end may be incomplete.
fn jwts(text: &[u8], mut from: usize, cx: &Context, cuts: &mut Vec<(usize, usize)>) {
    // Where the token ends that was looked at last: another beginning before it has the same end.
    let mut end = 0;
    while let Some(start) = jwt_begin(text, from) {
        if start >= end {
            // Some encoders add padding, or use the alphabet with `+`. `=` pads the end of a part; anywhere else it
            // does not belong to the token.
            let is = |b: &u8| is_token(b) || matches!(b, b'.' | b'=' | b'+');
            end = start;
            while text.get(end).is_some_and(is) {
                end += 1;
                let pads = matches!(text.get(end), None | Some(b'=' | b'.'));
                if text[end - 1] == b'=' && !pads {
                    break;
                }
            }
        }
        let token = &text[start..end];
        let mut parts = token.split(|b| *b == b'.');
        let header = parts.next().map_or(0, <[u8]>::len);
        let (claims, signature) = (parts.next(), parts.next());
        let whole = header >= 8
            && (token.starts_with(b"eyJ") || is_json(&token[..header]))
            && claims.is_some_and(|claims| {
                // Without a signature the claims must be an object; with one, they may be detached.
                claims.starts_with(b"eyJ")
                    || signature.is_some_and(|s| claims.len() >= 2 || s.len() >= 16)
            });
        if whole || (cx.cut && start + token.len() == text.len()) {
            cuts.push((start, start + token.len()));
            from = start + token.len();
        } else if claims.is_none() {
            from = start + token.len().max(1);
        } else {
            // A later start within this part would be even shorter.
            from = start + header + 1;
        }
    }
}

/// Start of a possible JWT header at or after `from`.
fn jwt_begin(text: &[u8], from: usize) -> Option<usize> {
    // Shorter tokens are not valid.
    let rest = text.get(from..).filter(|rest| rest.len() >= SHORTEST)?;
    let at = memchr::memchr_iter(b'e', rest)
        .find(|at| matches!(rest.get(at + 1..at + 3), Some(b"yJ" | b"yA" | b"wo" | b"w0" | b"wk")));
    at.map(|at| from + at)
}

/// Whether base64 decodes to an object that names an algorithm, like a JWT header.
fn is_json(header: &[u8]) -> bool {
    let bare: Vec<u8> = header.iter().copied().filter(|b| *b != b'=').take(512).collect();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    // The last bytes of a partial header may be incomplete.
    let whole = &bare[..bare.len() - bare.len() % 4];
    engine.decode(whole).is_ok_and(|text| memmem::find(&text, b"\"alg\"").is_some())
}

/// Adds the ranges of path segments that look like tokens after a segment that names a hook, whose prefix
/// ends at `at`; returns where they end.
fn hook(text: &[u8], at: usize, cuts: &mut Vec<(usize, usize)>) -> usize {
    let name = run(&text[at..text.len().min(at + 16)], u8::is_ascii_alphanumeric);
    let mut at = at + name;
    for _ in 0..6 {
        if text.get(at) != Some(&b'/') {
            break;
        }
        let from = at + 1;
        let len = run(&text[from..], |b| is_token(b) || *b == b'@');
        at = from + len;
        if looks_random(&text[from..at]) {
            cuts.push((from, at));
        }
    }
    at
}

/// Whether a word is a token rather than a name.
pub(super) fn looks_random(word: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| word.iter().any(is);
    word.len() >= 16
        && word.iter().all(|b| is_token(b) || *b == b'@')
        && has(u8::is_ascii_alphabetic)
        && (has(u8::is_ascii_digit) || has(u8::is_ascii_uppercase))
}

/// Shortest text that is taken for a token without a prefix, and the longest that is looked at.
const OPAQUE: std::ops::RangeInclusive<usize> = 32..=512;

/// Kinds of bytes in a token, 0 to 3, and whether they are beyond hexadecimal; [`NO_TOKEN`] for bytes that no token
/// has.
const KINDS: [u8; 256] = kinds();
const DIGIT: u8 = 1;
const BEYOND_HEX: u8 = 4;
const NO_TOKEN: u8 = 8;

const fn kinds() -> [u8; 256] {
    let mut kinds = [NO_TOKEN; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' => 2,
            b'g'..=b'z' => 2 | BEYOND_HEX,
            b'A'..=b'F' => 3,
            b'G'..=b'Z' => 3 | BEYOND_HEX,
            b'-' | b'_' | b'+' | b'/' | b'=' => 0,
            _ => NO_TOKEN,
        };
        byte += 1;
    }
    kinds
}

/// For a kind and the one before it (times 4): 1 if the kind changes, and 1 << 16 if to or from a digit.
const CHANGES: [u32; 16] = changes();

const fn changes() -> [u32; 16] {
    let mut changes = [0; 16];
    let mut at = 0;
    while at < 16 {
        let (before, kind) = (at as u8 / 4, at as u8 % 4);
        if before != kind && before > 0 && kind > 0 {
            let is_to_digit = before == DIGIT || kind == DIGIT;
            changes[at] = 1 | (is_to_digit as u32) << 16;
        }
        at += 1;
    }
    changes
}

/// Whether a whole value is one random word in an alphabet larger than hexadecimal: no hash, no UUID, no words.
pub(super) fn is_opaque(value: &[u8]) -> bool {
    if !OPAQUE.contains(&value.len()) || value[0] == b'/' {
        return false;
    }
    // Most values are words.
    if value.iter().filter(|byte| byte.is_ascii_digit()).count() < 2 {
        return false;
    }
    // Kinds change between most neighbours in random text, and between few in words and their numbers.
    let (mut changes, mut all, mut before) = (0, 0, 0);
    for byte in value {
        let kind = KINDS[usize::from(*byte)];
        if kind == NO_TOKEN {
            return false;
        }
        all |= kind;
        changes += CHANGES[usize::from(before << 2 | kind & 3)];
        before = kind & 3;
    }
    let (to_digits, changes) = (changes >> 16, changes & 0xffff);
    all & BEYOND_HEX != 0 && to_digits >= 4 && changes as usize * 4 >= value.len()
}

/// Whether the user of Basic authentication is a key rather than a name: some APIs expect keys there.
pub(super) fn is_key(user: &[u8]) -> bool {
    let mut cuts = Vec::new();
    secrets(user, &Context::TEXT, &mut cuts);
    let digits = user.iter().filter(|b| b.is_ascii_digit()).count();
    !cuts.is_empty() || user.len() >= 20 && digits >= 2 && looks_random(user)
}

/// Adds the ranges of what follows an authentication scheme in the value of a parameter: `x=Bearer+abc123`. Words that
/// somebody looks for have no digit.
pub(super) fn parameter_credentials(text: &[u8], cuts: &mut Vec<(usize, usize)>) {
    let mut end = 0;
    for equals in memchr::memchr_iter(b'=', text) {
        // A value is searched once, however many `=` it has.
        let start = (equals + 1).max(end);
        end = start + run(&text[start..], |b| !matches!(b, b'&' | b';' | b'#'));
        let value = &text[start..end];
        for blank in memchr::memchr2_iter(b' ', b'+', value) {
            if scheme(&value[..blank]).is_none() {
                continue;
            }
            let word = &value[blank + 1..];
            // Behind a `+` for the blank, another one is a blank too.
            let plus = value[blank] == b' ';
            let is = |b: &u8| {
                is_token(b) || matches!(b, b'.' | b'~' | b'/' | b'=') || plus && *b == b'+'
            };
            let len = run(word, is);
            let ends = word.get(len).is_none_or(|b| matches!(b, b' ' | b'+' | b',' | b'"'));
            if len >= 8 && ends && word[..len].iter().any(u8::is_ascii_digit) {
                cuts.push((start + blank + 1, start + blank + 1 + len));
            }
        }
    }
}

/// Adds the ranges of credentials after an authentication scheme (RFC 9110 §11.4) in any field or text.
/// Challenges are not secrets.
pub(super) fn credentials(text: &[u8], cuts: &mut Vec<(usize, usize)>) {
    let mut done = 0;
    // Ends of lines without the answers of Digest, and of Hawk and MAC.
    let mut unsigned = [0; 2];
    for blank in memchr::memchr_iter(b' ', text) {
        let Some(scheme) = scheme(&text[..blank]).filter(|_| blank >= done) else {
            continue;
        };
        let from = blank + run(&text[blank..], |b| *b == b' ');
        let rest = &text[from..];
        let is = |b: &u8| is_token(b) || matches!(b, b'.' | b'~' | b'+' | b'/');
        let bare = run(rest, is);
        let len = bare + run(&rest[bare..], |b| *b == b'=');
        let word = &rest[..len];
        // A parameter of a challenge: `realm=…`.
        let named = len > bare && rest.get(len).is_some_and(|b| is(b) || *b == b'"') && bare < 16;
        let has_digit = word.iter().any(u8::is_ascii_digit);
        let is_alone = blank == scheme.len() && len == rest.len();
        let to = match scheme {
            "digest" | "hawk" | "mac" => {
                let (of, answer): (_, &[u8]) = match scheme {
                    "digest" => (&mut unsigned[0], b"response="),
                    _ => (&mut unsigned[1], b"mac="),
                };
                let line = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                let is_signed = from >= *of && memmem::find(&rest[..line], answer).is_some();
                if !is_signed {
                    *of = from + line;
                }
                is_signed.then_some(line)
            }
            _ if named => None,
            "basic" => is_basic(word).then_some(len),
            // An account, a colon, a signature.
            "aws" | "sharedkey" | "sharedkeylite" => {
                let line = run(rest, |b| is(b) || matches!(b, b'=' | b':'));
                let colon = memchr::memchr(b':', &rest[..line]);
                colon.filter(|at| line - at > 20).map(|_| line)
            }
            "negotiate" | "ntlm" => (len >= 8).then_some(len),
            "token" => (len >= 20 && has_digit).then_some(len),
            _ => (len >= 16 || (len >= 6 && has_digit) || (is_alone && len > 0)).then_some(len),
        };
        if let Some(to) = to {
            cuts.push((from, from + to));
            done = from + to;
        }
    }
}

/// The scheme at the end of a text, as a whole word.
fn scheme(text: &[u8]) -> Option<&'static str> {
    let [.., a, b] = text else { return None };
    // Few words end like this.
    let schemes: &[&str] = match [a.to_ascii_lowercase(), b.to_ascii_lowercase()] {
        [b'e', b'r'] => &["bearer"],
        [b'i', b'c'] => &["basic"],
        [b's', b't'] => &["digest"],
        [b't', b'e'] => &["negotiate", "sharedkeylite"],
        [b'l', b'm'] => &["ntlm"],
        [b'e', b'n'] => &["token"],
        [b'e', b'y'] => &["apikey", "sharedkey"],
        [b'w', b'k'] => &["hawk"],
        [b'a', b'c'] => &["mac"],
        [b'o', b'p'] => &["dpop"],
        [b'w', b's'] => &["aws", "ssws"],
        _ => return None,
    };
    let is_word = |scheme: &&str| {
        let split = text.len().checked_sub(scheme.len());
        split.is_some_and(|at| {
            let begins = at == 0 || !text[at - 1].is_ascii_alphanumeric();
            begins && text[at..].eq_ignore_ascii_case(scheme.as_bytes())
        })
    };
    schemes.iter().copied().find(is_word)
}

fn is_basic(word: &[u8]) -> bool {
    let bare = &word[..run(word, |b| *b != b'=')];
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    engine.decode(bare).is_ok_and(|pair| pair.contains(&b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With more prefixes the search runs byte by byte, at three times the cost.
    #[test]
    fn all_prefixes_are_searched_for_at_once() {
        let prefixes = SHAPES.iter().flat_map(|(_, prefixes)| prefixes.split(' '));
        assert!(prefixes.count() <= 64);
        assert!(AUTOMATON.is_some());
    }
}
