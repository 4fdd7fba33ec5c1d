//! The lifecycle of one alert, for one key of a rule: when it opens, what it says, and how it ends. Knows
//! nothing of the counter table and of other rules.

use std::sync::Arc;

use crate::alert::{Active, Alert, Differs, Entity, Piece, Shown, State};
use crate::correlate::{self, Counted, Hit};
use crate::counter::Counter;
use crate::digest;
use crate::evidence::{Evidence, TEXT};
use crate::field::Field;
use crate::rule::{Correlation, Input, Kind, Rule};
use crate::template::Part;
use crate::view::View;
use crate::window::bucket_ns;

/// A rule, and the correlation that counts for it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    rule: &'a Arc<Rule>,
    correlation: &'a Correlation,
    /// Whether something was lost within the window.
    lossy: bool,
}

impl<'a> Subject<'a> {
    pub const fn new(rule: &'a Arc<Rule>, correlation: &'a Correlation, lossy: bool) -> Self {
        Subject { rule, correlation, lossy }
    }

    /// Collects evidence, unless none is needed; returns the state of an alert to be raised, if one is due.
    pub fn judge(
        &self,
        counter: &mut Counter,
        hit: &Hit<'_>,
        counted: &Counted,
    ) -> Option<Option<State>> {
        let active = counter.active();
        let is_open = active.is_some();
        let is_silent = active.is_some_and(|active| hit.time_ns < active.next_update_ns);
        // Alerts counted by a digest are few, and only the digest reports them.
        if is_silent && self.rule.quiet && !self.is_digest()
            || active.is_some_and(Active::is_silent)
        {
            return None;
        }
        let is_near = counted.value.saturating_mul(2) >= self.correlation.threshold()
            && (counted.moved || !correlate::begins_late(self.correlation));
        if !is_open && !counted.holds && !is_near {
            return None;
        }
        let more = counter.more();
        let evidence = more.evidence.get_or_insert_default();
        if !is_open && evidence.is_old(hit.time_ns, self.correlation.window_ns) {
            evidence.begin_anew();
        }
        evidence.see(hit.view, hit.time_ns);
        if let Some(hash) = correlate::shown_hash(self.correlation, hit) {
            evidence.see_distinct(hash);
        }
        Some(match is_open {
            false => counted.holds.then_some(State::Opened),
            true => (!is_silent).then_some(State::Updated),
        })
    }

    /// Builds the alert that opens, or is updated, at an event.
    pub fn raise(
        &self,
        counter: &mut Counter,
        hit: &Hit<'_>,
        counted: &Counted,
        state: State,
        of_others: Option<u64>,
    ) -> Option<Alert> {
        let events = counter.events;
        let more = counter.more();
        let evidence = more.evidence.get_or_insert_default();
        evidence.complete();
        let count = match self.correlation.kind {
            Kind::EventCount | Kind::Digest => counted.value,
            _ => of_others.unwrap_or(events).max(events),
        };
        let summary = self.summary(hit, evidence, count, counted);
        let entities = self.entities(hit.view, evidence);
        let id = identity(&self.rule.id, &entities, hit.time_ns);
        let active = more.active.get_or_insert_with(|| {
            Box::new(Active {
                id,
                opened_ns: hit.time_ns,
                next_update_ns: 0,
                reported: 0,
                gathers: false,
                at_opening: (count, events),
                summary: Vec::new(),
                entities: Vec::new(),
            })
        });
        active.next_update_ns = hit.time_ns.saturating_add(self.rule.suppress_ns);
        active.summary = summary;
        active.entities = entities;
        if state == State::Opened && self.is_digest() && self.rule.alert_limit == 0 {
            active.gathers = true;
            let gather_ns = digest::GATHER_NS.min(self.rule.suppress_ns);
            active.next_update_ns = hit.time_ns.saturating_add(gather_ns);
            return None;
        }
        self.alert_now(counter, state, hit.time_ns)
    }

    /// Builds the alert in its current state.
    pub fn alert_now(&self, counter: &mut Counter, state: State, time_ns: u64) -> Option<Alert> {
        let (events, incomplete) = (counter.events, counter.incomplete);
        let in_window = counter.window.total();
        let more = counter.more.as_mut()?;
        let active = more.active.as_mut().filter(|active| !active.is_silent())?;
        let count = active.count(events);
        active.reported = count;
        let state = match std::mem::take(&mut active.gathers) {
            true => {
                active.next_update_ns = time_ns.saturating_add(self.rule.suppress_ns);
                State::Opened
            }
            false => state,
        };
        let stands_for = self.is_digest().then(|| count + 1 - active.at_opening.0);
        let empty = Evidence::default();
        let evidence = more.evidence.as_deref().unwrap_or(&empty);
        let distinct = matches!(self.correlation.kind, Kind::ValueCount(_)).then(|| {
            let threshold = self.correlation.threshold();
            match state {
                State::Opened => in_window,
                _ => evidence.distinct().max(threshold),
            }
        });
        let span_ns = match state {
            State::Opened => 0,
            _ => evidence.last_ns.saturating_sub(evidence.first_ns),
        };
        let mut servers = evidence.servers.sorted();
        servers.retain(|(ip, _)| !ip.is_unspecified());
        Some(Alert {
            id: active.id,
            state,
            rule: Arc::clone(self.rule),
            severity: self.rule.severity,
            time_ns,
            summary: self.renumbered(&active.summary, count, distinct, span_ns),
            entities: active.entities.clone(),
            count,
            distinct,
            threshold: self.correlation.threshold(),
            window_ns: self.correlation.window_ns,
            first_seen_ns: evidence.first_ns,
            last_seen_ns: evidence.last_ns,
            differs: self.differs(count, evidence),
            stands_for,
            statuses: evidence.statuses.clone(),
            paths: evidence.paths.sorted(),
            servers,
            clients: evidence.clients.sorted(),
            hosts: evidence.hosts.sorted(),
            user_agents: evidence.user_agents.sorted(),
            samples: evidence.samples.iter().cloned().collect(),
            under_counted: incomplete || self.lossy,
            proxy_suspected: false,
            is_sum: self.correlation.threshold() > 1 && evidence.is_of_several(),
            direct: evidence.direct,
            ban: None,
        })
    }

    /// Suppresses all reports of the alert that has just opened.
    pub fn silence(&self, counter: &mut Counter) {
        let more = counter.more();
        more.evidence = None;
        if let Some(active) = &mut more.active {
            active.silence();
        }
    }

    /// The alert that was gathering, if its report is due.
    pub fn gathered(&self, counter: &mut Counter, now_ns: u64) -> Option<Alert> {
        let active = counter.active().filter(|active| active.gathers)?;
        let is_due = active.next_update_ns <= now_ns;
        is_due.then(|| self.alert_now(counter, State::Opened, now_ns))?
    }

    /// Ends an alert. Returns the final alert, preceded by its opening if that was not reported yet.
    pub fn end(&self, counter: &mut Counter, time_ns: u64) -> impl Iterator<Item = Alert> + use<> {
        let gathers = counter.active().is_some_and(|active| active.gathers);
        let opened = if gathers { self.alert_now(counter, State::Opened, time_ns) } else { None };
        let ended = self.alert_now(counter, State::Ended, time_ns);
        let more = counter.more();
        (more.active, more.evidence) = (None, None);
        counter.events = counter.window.total();
        opened.into_iter().chain(ended)
    }

    fn is_digest(&self) -> bool {
        self.correlation.kind == Kind::Digest
    }

    /// The reasons why the statuses do not add up to the count; empty if they do.
    fn differs(&self, count: u64, evidence: &Evidence) -> Vec<Differs> {
        let shown: u64 = evidence.statuses.iter().map(|(_, times)| times).sum();
        let mut why = Vec::new();
        if shown == count {
            return why;
        }
        let inputs = self.correlation.inputs.iter();
        let is_part = |input: &Input| matches!(input, Input::Correlation(_));
        if evidence.events != count {
            why.push(match evidence.events > count {
                _ if inputs.clone().any(is_part) => Differs::OfPart,
                true => Differs::FromBefore,
                false if self.rule.quiet && !self.is_digest() => Differs::BetweenUpdates,
                false => Differs::FromHalf,
            });
        }
        if shown < evidence.events {
            why.push(Differs::RareLeftOut);
        }
        why
    }

    fn summary(
        &self,
        hit: &Hit<'_>,
        evidence: &Evidence,
        count: u64,
        counted: &Counted,
    ) -> Vec<Piece> {
        let Some(template) = self.template() else {
            return self.title(hit.view, evidence);
        };
        let number = |n: u64| Piece::Text(n.to_string());
        // Nor does an access log name the port, which is left out then, with the word before it.
        let no_port = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| template.get(at));
            matches!(before, Some(Part::Text(text)) if text.ends_with(" port "))
                && matches!(&template.get(at), Some(Part::Field(field)) if *field == Field::ServerPort
                    && shown(field, hit.view, evidence).is_none())
        };
        template
            .iter()
            .enumerate()
            .map(|(at, part)| match part {
                Part::Text(text) if no_port(at + 1) => {
                    Piece::Text(text.trim_end_matches(" port ").to_owned())
                }
                Part::Text(text) => Piece::Text(text.clone()),
                Part::Field(_) if no_port(at) => Piece::Text(String::new()),
                Part::Count => number(count),
                Part::Distinct => number(counted.value),
                Part::Window => Piece::Text(window_text(self.correlation.window_ns)),
                Part::Match => Piece::Text(self.matched(hit).to_owned()),
                Part::Field(field) => match shown(field, hit.view, evidence) {
                    Some(shown) => Piece::Value(shown),
                    // An access log does not name its server.
                    None if *field == Field::ServerIp => Piece::Text("the server".to_owned()),
                    None => Piece::Text("unknown".to_owned()),
                },
            })
            .collect()
    }

    /// Title of the first rule that the event matched; a digest counts alerts of any.
    fn matched(&self, hit: &Hit<'_>) -> &str {
        let titles = self.rule.input_titles.iter().filter(|_| !self.is_digest());
        let mut titles = titles.skip(hit.inputs.trailing_zeros() as usize);
        titles.next().unwrap_or(&self.rule.title)
    }

    /// The summary with the numbers of now: time passes between the event that it was written at and the end. The count
    /// of an alert that has been open for longer than the window is of all that time, `span_ns`.
    fn renumbered(
        &self,
        summary: &[Piece],
        count: u64,
        distinct: Option<u64>,
        span_ns: u64,
    ) -> Vec<Piece> {
        let window_ns = self.correlation.window_ns;
        let template = self.template().unwrap_or_default().iter().map(Some);
        let parts = template.chain(std::iter::repeat(None));
        let renumber = |(piece, part): (&Piece, Option<&Part>)| match (part, distinct) {
            (Some(Part::Count), _) => Piece::Text(count.to_string()),
            (Some(Part::Distinct), Some(distinct)) => Piece::Text(distinct.to_string()),
            (Some(Part::Window), _) if span_ns > window_ns => Piece::Text(span_text(span_ns)),
            _ => piece.clone(),
        };
        summary.iter().zip(parts).map(renumber).collect()
    }

    /// The rule's summary, where it applies.
    fn template(&self) -> Option<&[Part]> {
        let whole = self.rule.summary.as_deref();
        whole.filter(|_| !self.is_digest() || self.rule.alert_limit == 0)
    }

    /// The summary of a rule without one: its title and the group's values.
    fn title(&self, view: &View<'_>, evidence: &Evidence) -> Vec<Piece> {
        let mut pieces = vec![Piece::Text(self.rule.title.clone())];
        if self.is_digest() {
            pieces.insert(0, Piece::Text("further alerts in one: ".to_owned()));
        }
        let groups = self.correlation.group_by.iter();
        let fields = groups.filter_map(|group| group.of.first());
        for shown in fields.filter_map(|field| shown(field, view, evidence)) {
            let between = if matches!(pieces.last(), Some(Piece::Text(_))) { ": " } else { ", " };
            pieces.push(Piece::Text(between.to_owned()));
            pieces.push(Piece::Value(shown));
        }
        pieces
    }

    fn entities(&self, view: &View<'_>, evidence: &Evidence) -> Vec<Entity> {
        let mut entities = Vec::new();
        let mut add = |role: &str, field: &Field| {
            if let Some(shown) = shown(field, view, evidence) {
                entities.push(Entity { role: role.to_owned(), shown });
            }
        };
        if self.rule.entities.is_empty() || self.is_digest() {
            for group in &self.correlation.group_by {
                if let Some(field) = group.of.first() {
                    add(role(field).unwrap_or(&group.name), field);
                }
            }
        }
        let named = self.rule.entities.iter();
        for (role_of, field) in named.filter(|_| !self.is_digest()) {
            let role = if Field::named(role_of).as_ref() == Some(field) {
                role(field).unwrap_or(role_of)
            } else {
                role_of
            };
            add(role, field);
        }
        entities
    }
}

const fn role(field: &Field) -> Option<&'static str> {
    match field {
        Field::ClientIp => Some("client"),
        Field::PeerIp => Some("peer"),
        Field::ServerIp => Some("server"),
        Field::Host => Some("host"),
        Field::UserName => Some("user"),
        _ => None,
    }
}

/// The value that an alert shows for a field: the most frequent one, where the evidence has it.
fn shown(field: &Field, view: &View<'_>, evidence: &Evidence) -> Option<Shown> {
    let value = match field {
        Field::ServerIp => evidence
            .servers
            .first()
            .filter(|ip| !ip.is_unspecified())
            .map(|ip| ip.to_string().into_bytes()),
        Field::ClientIp if view.event.client_name.is_none() => {
            evidence.clients.first().map(|ip| ip.to_string().into_bytes())
        }
        Field::Host => evidence.hosts.first().cloned(),
        Field::Path => evidence.paths.first().cloned(),
        Field::UserAgent => evidence.user_agents.first().cloned(),
        other => view
            .first(other)
            .map(|value| value.with_text(|text| text[..text.len().min(TEXT)].to_vec())),
    };
    Some(Shown { field: field.clone(), value: value? })
}

/// Deterministic: the same bytes on the wire give the same id.
fn identity(rule: &str, entities: &[Entity], opened_ns: u64) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut h = 0xcbf2_9ce4_8422_2325_u64 ^ opened_ns.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let values = entities.iter().flat_map(|entity| &entity.shown.value);
    for byte in rule.as_bytes().iter().chain(values) {
        h = (h ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    h ^ h >> 32
}

/// Formats a window: `5m`, `24h`, `90s`.
pub fn window_text(window_ns: u64) -> String {
    let seconds = window_ns / 1_000_000_000;
    match seconds {
        s if s > 0 && s.is_multiple_of(86_400) && s > 86_400 => format!("{}d", s / 86_400),
        s if s > 0 && s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s > 0 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A span of time, rounded up: to minutes below two hours, to hours below two days.
fn span_text(span_ns: u64) -> String {
    let minutes = span_ns.div_ceil(60_000_000_000);
    match minutes {
        0..120 => format!("{minutes}m"),
        120..2880 => format!("{}h", minutes.div_ceil(60)),
        _ => format!("{}d", minutes.div_ceil(1440)),
    }
}

/// The count below which an alert ends.
fn end_below(correlation: &Correlation) -> u64 {
    match correlation.kind {
        Kind::EventCount
        | Kind::ValueCount(_)
        | Kind::ValueSum(_)
        | Kind::Ratio(_)
        | Kind::Digest => correlation.threshold().div_ceil(2),
        // Ends when nothing is left in the window.
        _ => 1,
    }
}

/// The time at which an alert ends if nothing more is counted, in ns.
pub fn over_at(correlation: &Correlation, counter: &Counter, near_ns: u64) -> u64 {
    let part = bucket_ns(correlation.window_ns);
    let over = counter.window.below(end_below(correlation));
    let near = near_ns / part;
    let distance = i64::from(over.wrapping_sub(near as u32) as i32);
    near.saturating_add_signed(distance).saturating_mul(part)
}

/// Approximate time of the last counted event, in ns: the end of the newest bucket.
pub fn newest_ns(correlation: &Correlation, counter: &Counter, now_ns: u64) -> u64 {
    let part = bucket_ns(correlation.window_ns);
    let now = now_ns / part;
    let ago = (now as u32).wrapping_sub(counter.window.newest()) as i32;
    let newest = now.saturating_add_signed(-i64::from(ago));
    newest.saturating_add(1).saturating_mul(part).min(now_ns)
}
