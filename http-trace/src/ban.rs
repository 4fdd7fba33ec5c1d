//! Bans clients of alerts for a time, using the host's firewall. Decides whom to ban. The eBPF programs are
//! not involved; they only observe.
//!
//! # Layout
//! - [`mod@never`]: the addresses of this host and its gateways (*I/O*: `/proc/net`).
//! - [`nft`]: a set of nftables, managed with the program `nft` (*I/O*).
//! - [`firewall`]: the thread that applies bans.

pub mod firewall;
pub mod never;
pub mod nft;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use self::firewall::{Firewall, InForce, Order, Progress};
use self::never::Never;
use self::nft::Set;
use crate::enrich::proxy::Trusted;
use http_trace_detect::alert::{Alert, Ban, Outcome, State};
use http_trace_detect::field::Field;
use http_trace_detect::rule::Level;

/// Whom to ban, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The set to which banned clients are added.
    pub set: Set,
    /// Duration of a ban; `None` is a dry run.
    pub lasts: Option<Duration>,
    /// Lowest level of alerts that lead to a ban.
    pub level: Level,
    pub allow: Vec<IpNet>,
    /// Maximum number of bans in force.
    pub most: usize,
    /// If the table is created here: reset connections instead of dropping packets.
    pub reset: bool,
    /// Lift this run's bans at its end.
    pub lift: bool,
}

/// Number of alerts by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clients that the firewall has confirmed as banned, or in a dry run those that would have been.
    pub banned: u64,
    /// Alerts whose client was not banned, for a reason.
    pub refused: u64,
    /// The reasons for that.
    pub reasons: BTreeSet<&'static str>,
    /// Bans that failed in the firewall.
    pub failed: u64,
    /// Cause of the last failure.
    pub failure: Option<String>,
}

/// Applies a plan.
#[derive(Debug)]
pub struct Bans {
    plan: Plan,
    /// These are never banned.
    pub trusted: Trusted,
    never: Never,
    /// What the firewall has confirmed; in a dry run, who would be banned.
    in_force: InForce,
    /// Bans that the firewall was asked for and has not confirmed, and their ends.
    asked: InForce,
    /// `None` in a dry run.
    firewall: Option<Firewall>,
    pub counts: Counts,
    /// A message that was not told yet.
    news: Option<String>,
    /// Whether it was told that the set cannot be read.
    is_unread: bool,
}

impl Bans {
    /// Prepares banning. With `carry_out`, and a duration in the plan, looks up or creates the set.
    pub fn open(plan: Plan, trusted: Trusted, carry_out: bool) -> Result<Self, String> {
        let firewall = match plan.lasts.filter(|_| carry_out) {
            Some(_) => Some(Firewall::start(plan.set.clone(), plan.reset, plan.lift)?),
            None => None,
        };
        Ok(Bans {
            plan,
            trusted,
            never: Never::default(),
            in_force: HashMap::new(),
            asked: HashMap::new(),
            firewall,
            counts: Counts::default(),
            news: None,
            is_unread: false,
        })
    }

    /// Bans the client of an alert, unless there is a reason against it. `None` if the alert calls for no
    /// ban: it has ended, its level is too low, or it names no client.
    pub fn judge(&mut self, alert: &Alert) -> Option<Ban> {
        if alert.state == State::Ended || alert.severity.level() < self.plan.level {
            return None;
        }
        let client = client(alert)?;
        if let Some(firewall) = &self.firewall {
            let progress = firewall.progress();
            self.note(progress);
        }
        let now = Instant::now();
        let ban = |outcome, seconds, reason| Some(Ban { client, outcome, seconds, reason });
        let left = |bans: &InForce| {
            let until = bans.get(&client).filter(|until| **until > now)?;
            Some(Some((*until - now).as_secs()))
        };
        let order =
            |lasts, was_there| Order { client, lasts, rule: alert.rule.id.to_string(), was_there };
        if let Some(left) = left(&self.in_force) {
            return match (&self.firewall, self.plan.lasts) {
                (Some(firewall), Some(lasts)) => {
                    // Somebody may just have lifted it. If the queue is full, the next alert asks again.
                    firewall.ban(order(lasts, true));
                    ban(Outcome::InForce, left, None)
                }
                // Nobody is banned; the client was counted.
                _ => ban(Outcome::DryRun, self.plan.lasts.and(left), None),
            };
        }
        if let Some(left) = left(&self.asked) {
            return ban(Outcome::Banning, left, None);
        }
        if let Some(reason) = self.reason_against(alert, client) {
            self.counts.refused += 1;
            self.counts.reasons.insert(reason);
            return ban(Outcome::Refused, None, Some(reason));
        }
        let (Some(lasts), Some(firewall)) = (self.plan.lasts, &mut self.firewall) else {
            // Reported once per hour, like an alert that stays open.
            let lasts = self.plan.lasts.unwrap_or(Duration::from_secs(3600));
            self.in_force.insert(client, now + lasts);
            self.counts.banned += 1;
            let seconds = self.plan.lasts.map(|lasts| lasts.as_secs());
            return ban(Outcome::DryRun, seconds, None);
        };
        if !firewall.ban(order(lasts, false)) {
            self.counts.failed += 1;
            return ban(Outcome::Refused, None, Some("the firewall is too slow"));
        }
        self.asked.insert(client, now + lasts);
        ban(Outcome::Banning, Some(lasts.as_secs()), None)
    }

    fn reason_against(&mut self, alert: &Alert, client: IpAddr) -> Option<&'static str> {
        if self.plan.allow.iter().any(|net| net.contains(&client)) {
            return Some("it is in ban-allow");
        }
        if self.trusted.contains(client) {
            return Some("it is a trusted proxy");
        }
        if let Some(reason) = self.never.reason(client) {
            return Some(reason);
        }
        if !alert.direct {
            return Some("known only from a proxy's header: a ban would have no effect");
        }
        if alert.proxy_suspected {
            return Some("it looks like a proxy of many clients");
        }
        if self.firewall.is_some() && !self.plan.set.takes(client) {
            return Some("the set has the other IP version");
        }
        if self.in_force.len() + self.asked.len() >= self.plan.most {
            let now = Instant::now();
            self.in_force.retain(|_, until| *until > now);
        }
        (self.in_force.len() + self.asked.len() >= self.plan.most).then_some("ban-most is reached")
    }

    /// Takes over what the firewall has done. Clients that it has not banned may be banned again.
    fn note(&mut self, progress: Progress) {
        for client in progress.banned.iter().chain(&progress.failed) {
            self.asked.remove(client);
        }
        self.counts.banned += progress.banned.len() as u64;
        self.counts.failed += progress.failed.len() as u64;
        if let Some(in_force) = progress.in_force {
            self.in_force = in_force;
        }
        if let Some(why) = progress.unread.filter(|_| !self.is_unread) {
            self.is_unread = true;
            self.news = Some(format!("bans in force are not known: {why}"));
        }
        if let Some(why) = progress.why
            && self.counts.failure.as_ref() != Some(&why)
        {
            self.news = Some(format!("cannot ban clients: {why}"));
            self.counts.failure = Some(why);
        }
    }

    /// Takes over what the firewall has done; a new reason why bans failed, as a message.
    pub fn news(&mut self) -> Option<String> {
        let progress = self.firewall.as_ref()?.progress();
        self.note(progress);
        self.news.take()
    }

    pub const fn is_dry(&self) -> bool {
        self.firewall.is_none()
    }

    /// Applies pending bans, and lifts the bans of this run if configured.
    pub fn close(mut self) -> Counts {
        if let Some(firewall) = self.firewall.take() {
            self.note(firewall.close());
            self.counts.failed += self.asked.len() as u64;
        }
        self.counts
    }
}

/// The client that an alert is about, if any.
fn client(alert: &Alert) -> Option<IpAddr> {
    let of_client = |field: &Field| matches!(field, Field::ClientIp | Field::PeerIp);
    let mut named = alert.entities.iter().filter(|e| of_client(&e.shown.field));
    let text = str::from_utf8(&named.next()?.shown.value).ok()?;
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests;
