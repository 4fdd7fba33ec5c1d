//! Which detections an event can match at all, found without evaluating them: by its status, and by
//! one pass over each text that literals are looked for in. Leaves nothing out that matches.

use super::field::{Field, View};
use super::kept::Kept;
use super::lines::Name;
use super::literals::Literals;
use super::matcher::{Expr, Test, literals_of};
use http_trace_model::event::HttpEvent;

/// Statuses from 0 (no response) to 999.
pub const STATUSES: usize = 1000;

/// The most literals of one detection; with more it is always evaluated.
const LITERALS: usize = 512;

/// A set of detections by their number.
pub type Bits = Box<[u64]>;

/// The prefilter of a list of detections.
#[derive(Debug)]
pub struct Prefilter {
    words: usize,
    /// For each status the detections that it leaves possible.
    by_status: Vec<u64>,
    /// For each status the detections that match whatever else the event has.
    sure: Vec<u64>,
    /// Texts that literals are looked for in: what follows from the target, and others.
    in_target: Vec<(Field, Literals)>,
    elsewhere: Vec<(Field, Literals)>,
    /// Literals that may be anywhere.
    keywords: Option<Literals>,
    /// Whether some may be in what is written for the purpose only.
    seldom: Seldom,
    /// Detections for which an identifier in the path stands.
    path_id: Bits,
    /// Those for which a text that does not follow from the target alone stands.
    pub by_others: Bits,
}

/// Where a keyword is looked for only if one can be there.
#[derive(Clone, Copy, Debug, Default)]
struct Seldom {
    status: bool,
    version: bool,
    address: bool,
}

impl Seldom {
    fn add(&mut self, literal: &[u8]) {
        let is_in = |text: &[u8]| memchr::memmem::find(text, literal).is_some();
        // The longest is an IPv4-mapped address in full.
        let of_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
        self.status |= literal.len() <= 3 && literal.iter().all(u8::is_ascii_digit);
        self.version |= is_in(b"http/1.0") || is_in(b"http/1.1");
        self.address |= literal.len() <= 45 && literal.iter().all(of_address);
    }
}

/// What stands for a detection: an event that matches has one of these, at least.
#[derive(Debug, Default)]
pub struct Signs {
    /// Anything at all: it must be evaluated whenever it is possible.
    pub always: bool,
    /// A text that [`Prefilter::find_in_target`] or [`Prefilter::find_elsewhere`] finds.
    pub texts: bool,
    /// Lines of the heads.
    pub lines: Vec<Sign>,
}

/// A line that an event has when a detection matches it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sign {
    /// Of the response.
    pub response: bool,
    /// Its name.
    pub name: Box<str>,
    /// A literal in it, in lower case, if it takes one.
    pub literal: Option<Vec<u8>>,
}

/// A sign, or something that is in no line of a head.
#[derive(Clone, Debug)]
enum Witness {
    Line(Sign),
    /// An identifier in the path.
    PathId,
    Text(Field, Vec<u8>),
    /// A literal anywhere in the event.
    Keyword(Vec<u8>),
}

impl Prefilter {
    /// Over detections in the order of their numbers; also what stands for each.
    pub fn new(detections: &[Expr]) -> (Self, Vec<Signs>) {
        let words = detections.len().div_ceil(64).max(1);
        let mut by_status = vec![0; STATUSES * words];
        let mut sure = vec![0; STATUSES * words];
        let mut path_id = vec![0_u64; words].into_boxed_slice();
        let mut texts: Vec<(Field, Vec<(Vec<u8>, u32)>)> = Vec::new();
        let mut keywords: Vec<(Vec<u8>, u32)> = Vec::new();
        let mut signs: Vec<Signs> = Vec::with_capacity(detections.len());
        for (number, expr) in detections.iter().enumerate() {
            let (word, bit) = (number / 64, 1 << (number % 64));
            for status in 0..STATUSES {
                let decided = expr.decided((status > 0).then_some(status as u16));
                if decided != Some(false) {
                    by_status[status * words + word] |= bit;
                }
                if decided == Some(true) {
                    sure[status * words + word] |= bit;
                }
            }
            let mut of = Signs::default();
            let in_line =
                |witness: &Witness| matches!(witness, Witness::Line(s) if s.literal.is_some());
            match witnesses(expr).filter(|set| set.len() <= LITERALS) {
                // Tests of lines are known before it is asked what stands for them.
                Some(found) if !found.iter().all(in_line) => {
                    for witness in found {
                        of.texts |= !matches!(witness, Witness::Line(_));
                        match witness {
                            Witness::Line(sign) => of.lines.push(sign),
                            Witness::PathId => path_id[word] |= bit,
                            Witness::Keyword(literal) => keywords.push((literal, number as u32)),
                            Witness::Text(field, literal) => {
                                let at = texts.iter().position(|(f, _)| *f == field);
                                let at = at.unwrap_or_else(|| {
                                    texts.push((field, Vec::new()));
                                    texts.len() - 1
                                });
                                texts[at].1.push((literal, number as u32));
                            }
                        }
                    }
                }
                _ => of.always = true,
            }
            signs.push(of);
        }
        // Too many literals for an automaton: their detections are evaluated always.
        let mut too_many = |mask: &Bits| {
            for (number, of) in signs.iter_mut().enumerate() {
                of.always |= mask[number / 64] >> (number % 64) & 1 != 0;
            }
        };
        let mut built = Vec::new();
        for (field, entries) in texts {
            match Literals::new(entries, words) {
                Ok(literals) => built.push((field, literals)),
                Err(mask) => too_many(&mask),
            }
        }
        let mut seldom = Seldom::default();
        keywords.iter().for_each(|(literal, _)| seldom.add(literal));
        let keywords = match Literals::new(keywords, words) {
            Ok(literals) => Some(literals).filter(|l| !l.is_empty()),
            Err(mask) => {
                too_many(&mask);
                None
            }
        };
        let (in_target, elsewhere): (Vec<_>, Vec<_>) = built
            .into_iter()
            .partition(|(field, _): &(Field, Literals)| field.is_of_target());
        let masks = elsewhere.iter().map(|(_, literals)| literals);
        let mut by_others = vec![0; words].into_boxed_slice();
        for literals in masks.chain(&keywords) {
            let all = by_others.iter_mut().zip(&literals.mask);
            all.for_each(|(all, mask)| *all |= mask);
        }
        let prefilter = Prefilter {
            words,
            by_status,
            sure,
            in_target,
            elsewhere,
            keywords,
            seldom,
            path_id,
            by_others,
        };
        (prefilter, signs)
    }

    /// How many words a set of detections has.
    pub const fn words(&self) -> usize {
        self.words
    }

    /// The detections that a status leaves possible.
    pub fn possible(&self, status: usize) -> &[u64] {
        &self.by_status[status * self.words..][..self.words]
    }

    /// The detections that match whatever else an event with this status has.
    pub fn sure(&self, status: usize) -> &[u64] {
        &self.sure[status * self.words..][..self.words]
    }

    /// Adds detections for which a text is there that follows from the target; only what some wanted
    /// ones ask for is looked for.
    pub fn find_in_target(
        &self,
        view: &View<'_>,
        hosts: &mut Hosts,
        wanted: &[u64],
        found: &mut [u64],
    ) {
        let asked = |mask: &Bits| is_any_of(mask, wanted);
        if view.path_id.is_some() {
            (found.iter_mut().zip(&self.path_id)).for_each(|(found, id)| *found |= id);
        }
        for (field, literals) in &self.in_target {
            if asked(&literals.mask) {
                search_field(literals, field, view, hosts, found);
            }
        }
        if let Some(literals) = &self.keywords
            && asked(&literals.mask)
            && hosts.of_keywords.may_hold(literals, view)
        {
            literals.search(view.host_and_target(), found);
        }
    }

    /// Adds detections for which a text is anywhere else; only what some wanted ones ask for is looked
    /// for.
    pub fn find_elsewhere(&self, view: &View<'_>, wanted: &[u64], found: &mut [u64]) {
        let asked = |mask: &Bits| is_any_of(mask, wanted);
        for (field, literals) in &self.elsewhere {
            if may_have(view.event, field) && asked(&literals.mask) {
                search(literals, field, view, found);
            }
        }
        if let Some(literals) = &self.keywords
            && asked(&literals.mask)
        {
            let mut search = |text: &[u8]| {
                literals.search(text, found);
                false
            };
            view.any_line(&mut search);
            if self.seldom.version
                && let Some(version) = view.version_line()
            {
                search(version);
            }
            if self.seldom.status {
                view.status_text(&mut search);
            }
            if self.seldom.address {
                view.client_text(&mut search);
            }
        }
    }
}

/// The status of an event, 0 without a response, as it is looked up.
pub fn status_of(event: &HttpEvent) -> usize {
    let status = event.response.as_ref().map_or(0, |r| r.status);
    usize::from(status).min(STATUSES - 1)
}

fn search_field(
    literals: &Literals,
    field: &Field,
    view: &View<'_>,
    hosts: &mut Hosts,
    found: &mut [u64],
) {
    if *field == Field::Uri && !hosts.of_urls.may_hold(literals, view) {
        return;
    }
    // Of values of these, where there are two, the longer one contains the other, and with it every
    // literal in it.
    let longest = match field {
        Field::Uri => {
            literals.find(view.uri(), found);
            return;
        }
        Field::Query => view.path_and_query(),
        Field::Target => view.event.request.as_ref().map(|r| &r.target[..]),
        Field::Path => view.target.path,
        _ => None,
    };
    if let Some(text) = longest {
        literals.search(text, found);
        return;
    }
    search(literals, field, view, found);
}

/// Whether an event may have a field at all; nearly none has those that are asked for here.
fn may_have(event: &HttpEvent, field: &Field) -> bool {
    match field {
        Field::BodyContent | Field::SniffedType => event.body_snippet.is_some(),
        Field::Flags => !event.flags.is_empty(),
        Field::NoResponse => event.no_response.is_some(),
        _ => true,
    }
}

/// Looks through each value of a field.
fn search(literals: &Literals, field: &Field, view: &View<'_>, found: &mut [u64]) {
    let _ = view.any(field, &mut |value| {
        value.with_text(|bytes| literals.search(bytes, found));
        false
    });
}

/// Hosts whose URLs have no literal in them up to their path: of most URLs only the path and what
/// follows is looked through.
#[derive(Debug)]
struct OfLiterals(Kept);

/// Of the literals that are looked for in URLs, and of keywords.
#[derive(Debug, Default)]
pub struct Hosts {
    of_urls: OfLiterals,
    of_keywords: OfLiterals,
}

impl Default for OfLiterals {
    fn default() -> Self {
        OfLiterals(Kept::new(1))
    }
}

impl OfLiterals {
    /// Whether a literal may be in the URL of an event.
    fn may_hold(&mut self, literals: &Literals, view: &View<'_>) -> bool {
        let Some(request) = &view.event.request else {
            return false;
        };
        let target = &request.target[..];
        let Some((b'/', rest)) = target.split_first() else {
            return literals.may_hold(target);
        };
        if view.target.path.is_none() {
            // Of CONNECT the host is not that of the line.
            return literals.may_hold(view.uri());
        }
        let host = view.line(Name::HOST).unwrap_or_default();
        // Whether one may be in what is before the path, with its first byte, and the last byte there.
        let begin = || {
            let uri = view.uri();
            let begin = &uri[..uri.len() - rest.len()];
            let last = begin.iter().rev().nth(1).copied().unwrap_or_default();
            u16::from(last) << 1 | u16::from(literals.may_hold(begin))
        };
        let begin = self.0.number(host).unwrap_or_else(|| {
            let begin = begin();
            self.0.put(host, begin);
            begin
        });
        let over_seam = |next: &u8| literals.may_hold(&[(begin >> 1) as u8, b'/', *next]);
        begin & 1 != 0 || literals.may_hold(target) || rest.first().is_some_and(over_seam)
    }
}

/// Whether any of some detections is among others.
pub fn is_any_of(mask: &[u64], others: &[u64]) -> bool {
    mask.iter().zip(others).any(|(a, b)| a & b != 0)
}

/// Lines that nearly every head has: that they are there tells little.
const COMMON: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "referer",
    "server",
    "user-agent",
];

impl Witness {
    /// How rare it is taken to be.
    fn rarity(&self) -> usize {
        match self {
            Witness::Text(field, literal) if is_common(field, literal) => 0,
            Witness::Text(_, literal) => literal.len(),
            Witness::Line(Sign { name, literal, .. }) => match literal {
                Some(literal) => literal.len(),
                None if COMMON.contains(&&**name) => 0,
                None => 8,
            },
            Witness::PathId => 2,
            // Looked for in everything, so anything else is better.
            Witness::Keyword(_) => 1,
        }
    }

    /// A literal in a field.
    fn literal(field: &Field, literal: Vec<u8>) -> Witness {
        match line_of(field) {
            Some((response, name)) => Witness::Line(Sign {
                response,
                name: name.into(),
                literal: Some(literal),
            }),
            None => Witness::Text(field.clone(), literal),
        }
    }
}

/// The line whose value a field is, or is a part of: whether of the response, and its name.
pub fn line_of(field: &Field) -> Option<(bool, &str)> {
    Some(match field {
        Field::RequestHeader(name) => (false, name),
        Field::ResponseHeader(name) => (true, name),
        Field::UserAgent => (false, "user-agent"),
        Field::Referrer => (false, "referer"),
        Field::Cookie => (false, "cookie"),
        Field::MimeType => (true, "content-type"),
        _ => return None,
    })
}

/// Values that nearly every event has, in lower case.
const COMMON_METHODS: &[&[u8]] = &[b"get", b"post", b"head"];

/// Whether a literal is in a field of nearly every event: it tells less than any keyword does, which
/// is looked for in everything, but seldom found.
fn is_common(field: &Field, literal: &[u8]) -> bool {
    match field {
        Field::Method => COMMON_METHODS
            .iter()
            .any(|method| memchr::memmem::find(method, literal).is_some()),
        Field::Version | Field::StatusClass | Field::Reason | Field::Interfaces => true,
        _ => false,
    }
}

/// What an event has one of when it has a field at all; `None` when nothing is known.
fn signs_of(field: &Field) -> Option<Vec<Witness>> {
    let lines = |response, names: &[&str]| {
        let line = |name: &&str| {
            Witness::Line(Sign {
                response,
                name: (*name).into(),
                literal: None,
            })
        };
        Some(names.iter().map(line).collect())
    };
    if let Some((response, name)) = line_of(field) {
        return lines(response, &[name]);
    }
    match field {
        Field::PathId => Some(vec![Witness::PathId]),
        Field::CookieLacks => lines(true, &["set-cookie"]),
        Field::UserName => lines(false, &["authorization"]),
        Field::SameSite => lines(false, &["referer"]),
        Field::ForwardedClient => lines(false, &["x-forwarded-for", "forwarded", "x-real-ip"]),
        _ => None,
    }
}

/// Witnesses of which an event has at least one whenever the condition holds; `None` when there is
/// no such set.
fn witnesses(expr: &Expr) -> Option<Vec<Witness>> {
    match expr {
        Expr::Constant(_) | Expr::Not(_) => None,
        Expr::Keyword(test) => {
            let literals = literals_of(test)?;
            Some(literals.into_iter().map(Witness::Keyword).collect())
        }
        Expr::Item(_, Test::Absent | Test::Missing) => None,
        // What follows from a line is there only with it.
        Expr::Item(field, _) if line_of(field).is_none() && signs_of(field).is_some() => {
            signs_of(field)
        }
        Expr::Item(field, Test::Text(test)) => match literals_of(test) {
            Some(literals) => {
                let literals = literals.into_iter();
                Some(
                    literals
                        .map(|literal| Witness::literal(field, literal))
                        .collect(),
                )
            }
            None => signs_of(field),
        },
        Expr::Item(field, _) => signs_of(field),
        // The part that is the rarest.
        Expr::All(parts) => parts
            .iter()
            .filter_map(witnesses)
            .max_by_key(|set| set.iter().map(Witness::rarity).min()),
        Expr::AtLeast(_, parts) => {
            let mut set = Vec::new();
            for part in parts {
                set.extend(witnesses(part)?);
            }
            Some(set)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::Noted;
    use crate::tests::{of, response, run};
    use crate::uri::Uri;
    use http_trace_model::testing;

    /// Wherever in a URL a literal is: in its host, over the end of that, in what follows; also when
    /// the host is known from before.
    #[test]
    fn a_literal_is_found_in_every_part_of_a_url() {
        let mut found_any = 0;
        for literal in [
            "shop", "p/a", "80/", "://s", "le:8", "/..", "../", "b?x", "b:4", "e/?",
        ] {
            let entries = vec![(literal.as_bytes().to_vec(), 0)];
            let literals = Literals::new(entries, 1).expect("few");
            let mut hosts = Hosts::default();
            for _ in 0..2 {
                for host in [
                    "Host: shop.example\r\n",
                    "Host: SHOP.example:8080\r\n",
                    "Host: u@sh.op:80\r\n",
                    "Host: sh.op\r\nHost: shop\r\n",
                    "Host: \r\n",
                    "",
                ] {
                    for line in [
                        "GET /",
                        "GET /a",
                        "GET /../b?x",
                        "GET /?",
                        "GET /x/a",
                        "OPTIONS *",
                        "GET http://a.shop/b",
                        "CONNECT b:443",
                        "CONNECT /a",
                        "GET a",
                    ] {
                        let event = testing::event_of(
                            testing::request(&format!("{line} HTTP/1.1\r\n{host}\r\n")),
                            testing::response("HTTP/1.1 200 OK\r\n\r\n"),
                        );
                        let (noted, uri) = (Noted::of(&event), Uri::default());
                        let view = View::new(&event, &noted, &uri);
                        let (mut found, mut expected) = ([0], [0]);
                        search_field(&literals, &Field::Uri, &view, &mut hosts, &mut found);
                        literals.find(view.uri(), &mut expected);
                        assert_eq!(found, expected, "{literal} {line} {host}");
                        found_any += found[0];
                    }
                }
            }
        }
        assert!(found_any > 100, "{found_any}");
    }

    /// Of a method that nearly every request has, nothing follows: with a keyword beside it, that
    /// stands for the rule. A rare method stands for itself.
    #[test]
    fn a_common_value_stands_for_nothing_that_has_a_keyword() {
        let stands_for = |detection: &str| {
            let rule = format!(
                "title: one\nname: one\nlogsource: {{category: webserver}}\n\
                 detection: {{s: {detection}, k: ['union select', 'x9'], condition: s and k}}\n\
                 level: low\n"
            );
            let sources = [crate::parse::Source {
                origin: crate::rule::Origin::File("one.yml".into()),
                text: rule,
            }];
            let parsed = crate::parse::parse(&sources, &|_| false);
            let detections = parsed.rules.detections.into_iter();
            let exprs: Vec<Expr> = detections.map(|d| d.expr).collect();
            let (prefilter, _) = Prefilter::new(&exprs);
            (
                prefilter.keywords.is_some(),
                prefilter.in_target.len() + prefilter.elsewhere.len(),
            )
        };
        for detection in [
            "{cs-method: GET}",
            "{cs-method: [POST, HEAD]}",
            "{cs-version: '1.1'}",
            "{http_trace.status_class: 2xx, cs-method: GET}",
        ] {
            assert_eq!(stands_for(detection), (true, 0), "{detection}");
        }
        for detection in ["{cs-method: PROPFIND}", "{cs-uri-stem: /admin}"] {
            assert_eq!(stands_for(detection), (false, 1), "{detection}");
        }
    }

    /// What is left out unevaluated is what does not match: each is also asked with a condition
    /// that nothing stands for, which is evaluated always.
    #[test]
    fn nothing_that_matches_is_left_out() {
        for (detection, path, expected) in [
            ("['/${jndi:', Absent-Word]", "/a?x=/${JNDI:ldap", true),
            ("['/${jndi:', Absent-Word]", "/a?x=jndi", false),
            ("[shop.EXAMPLE]", "/", true),
            ("[sh?p*ample]", "/", true),
            ("['*']", "/", true),
            ("{cs-uri-stem: [/a, /B]}", "/b", true),
            ("{cs-uri-stem: [/a, /B]}", "/c", false),
            ("{cs-uri-stem|re: '/[0-9]'}", "/x/7", true),
            ("{cs-uri-stem|re: '/[0-9]$'}", "/x/77", false),
            ("{cs-uri-stem|re: '^/[ab]'}", "/x/a", false),
            ("{cs-uri-stem|re: '(?i)/(one|two)'}", "/TWO", true),
            ("{cs-host|contains: [SHOP, none]}", "/", true),
            ("{s-ip: [169.254.169.254, 192.0.2.10]}", "/", true),
            ("{s-ip: [169.254.169.254, '192.0.2.1']}", "/", false),
        ] {
            for condition in ["s", "not (not s)"] {
                let rule = format!(
                    "title: one\nname: one\nlogsource: {{category: webserver}}\n\
                     detection: {{s: {detection}, condition: {condition}}}\nlevel: low\n"
                );
                let mut event = response("198.51.100.7", 404, path, 1_795_156_800_000_000_000);
                event.server.ip = "192.0.2.10".parse().expect("an address");
                let (_, rules) = run(&mut of(&rule), [event]);
                let counted = rules.first().is_some_and(|rules| !rules.is_empty());
                assert_eq!(counted, expected, "{detection} {condition} {path}");
            }
        }
    }
}
