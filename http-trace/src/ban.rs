//! Bans clients: has the firewall that is there refuse the client of an alert for a time. Decides
//! whom. The eBPF programs have no part in it; they only observe.
//!
//! # Layout
//! - [`never`]: the addresses of this host and its gateways (*I/O*: `/proc/net`).
//! - [`nft`]: a set of nftables, by the program `nft` (*I/O*).
//! - [`firewall`]: the thread that carries bans out.

pub mod firewall;
pub mod never;
pub mod nft;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use self::firewall::{Firewall, Order};
use self::never::Never;
use self::nft::Set;
use crate::enrich::proxy::Trusted;
use http_trace_detect::alert::{Alert, Ban, Outcome, State};
use http_trace_detect::field::Field;
use http_trace_detect::rule::Level;

/// What is to be banned, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where banned clients are put.
    pub set: Set,
    /// How long each is banned; `None` only says who would be.
    pub lasts: Option<Duration>,
    /// The lowest level of an alert whose client is banned.
    pub level: Level,
    /// Clients that are never banned.
    pub allow: Vec<IpNet>,
    /// Most bans in force at once.
    pub most: usize,
    /// Reset connections instead of dropping packets, where the table is made here.
    pub reset: bool,
    /// Lift the bans of this run at its end.
    pub lift: bool,
}

/// How many alerts led to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clients banned, or that would have been.
    pub banned: u64,
    /// Alerts whose client was not banned, for a reason.
    pub refused: u64,
    /// Bans that the firewall did not carry out.
    pub failed: u64,
    /// Why the last of these was not.
    pub failure: Option<String>,
}

/// Bans by a plan.
#[derive(Debug)]
pub struct Bans {
    plan: Plan,
    trusted: Trusted,
    never: Never,
    /// Until when each client is banned.
    in_force: HashMap<IpAddr, Instant>,
    /// `None` where nobody is banned.
    firewall: Option<Firewall>,
    counts: Counts,
}

impl Bans {
    /// Begins to ban. With `carry_out`, and a time in the plan, the set is looked for, or made.
    ///
    /// # Errors
    /// In words, what of the set has to be otherwise.
    pub fn open(plan: Plan, trusted: Trusted, carry_out: bool) -> Result<Self, String> {
        let mut in_force = HashMap::new();
        let firewall = match plan.lasts.filter(|_| carry_out) {
            Some(_) => {
                let (firewall, there) = Firewall::start(plan.set.clone(), plan.reset, plan.lift)?;
                let now = Instant::now();
                in_force.extend(there.iter().map(|(client, left)| (*client, now + *left)));
                Some(firewall)
            }
            None => None,
        };
        Ok(Bans {
            plan,
            trusted,
            never: Never::default(),
            in_force,
            firewall,
            counts: Counts::default(),
        })
    }

    /// Believes other proxies from now on.
    pub fn trust(&mut self, trusted: Trusted) {
        self.trusted = trusted;
    }

    /// Bans the client of an alert, unless something speaks against it. `None` where an alert calls for
    /// no ban: it ended, its level is too low, or it names no client.
    pub fn judge(&mut self, alert: &Alert) -> Option<Ban> {
        if alert.state == State::Ended || alert.severity.level() < self.plan.level {
            return None;
        }
        let client = client(alert)?;
        let now = Instant::now();
        let ban = |outcome, seconds, reason| {
            Some(Ban {
                client,
                outcome,
                seconds,
                reason,
            })
        };
        if let Some(until) = self.in_force.get(&client)
            && *until > now
        {
            let left = Some((*until - now).as_secs());
            return match self.firewall {
                Some(_) => ban(Outcome::InForce, left, None),
                // Nobody is banned; the client was counted.
                None => ban(Outcome::DryRun, self.plan.lasts.and(left), None),
            };
        }
        if let Some(reason) = self.reason_against(alert, client) {
            self.counts.refused += 1;
            return ban(Outcome::Refused, None, Some(reason));
        }
        let (Some(lasts), Some(firewall)) = (self.plan.lasts, &mut self.firewall) else {
            // Told once in an hour, as an alert that stays open is.
            let lasts = self.plan.lasts.unwrap_or(Duration::from_secs(3600));
            self.in_force.insert(client, now + lasts);
            self.counts.banned += 1;
            let seconds = self.plan.lasts.map(|lasts| lasts.as_secs());
            return ban(Outcome::DryRun, seconds, None);
        };
        let order = Order {
            client,
            lasts,
            rule: alert.rule.id.to_string(),
        };
        if !firewall.ban(order) {
            self.counts.failed += 1;
            return ban(Outcome::Refused, None, Some("the firewall is too slow"));
        }
        self.in_force.insert(client, now + lasts);
        self.counts.banned += 1;
        ban(Outcome::Banned, Some(lasts.as_secs()), None)
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
            return Some("only a proxy's header names it: a ban would not reach it");
        }
        if alert.proxy_suspected {
            return Some("it looks like a proxy of many");
        }
        if self.firewall.is_some() && !self.plan.set.takes(client) {
            return Some("the set is of the other IP version");
        }
        if self.in_force.len() >= self.plan.most {
            let now = Instant::now();
            self.in_force.retain(|_, until| *until > now);
        }
        (self.in_force.len() >= self.plan.most).then_some("as many bans as ban-most are in force")
    }

    /// What is new of bans that the firewall did not carry out; their clients may be banned again.
    pub fn news(&mut self) -> Option<String> {
        let (failed, why) = self.firewall.as_ref()?.failed()?;
        self.counts.failed += failed.len() as u64;
        self.counts.banned = self.counts.banned.saturating_sub(failed.len() as u64);
        failed.iter().for_each(|client| {
            self.in_force.remove(client);
        });
        let is_new = self.counts.failure.as_ref() != Some(&why);
        self.counts.failure = Some(why.clone());
        is_new.then(|| format!("cannot ban clients: {why}"))
    }

    /// What came of it so far.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether clients are really banned.
    pub const fn is_dry(&self) -> bool {
        self.firewall.is_none()
    }

    /// Carries out what waits, and lifts the bans of this run if the plan says so.
    pub fn close(mut self) -> Counts {
        self.news();
        if let Some(firewall) = self.firewall.take() {
            let (failed, why) = firewall.close();
            self.counts.failed += failed;
            self.counts.banned = self.counts.banned.saturating_sub(failed);
            self.counts.failure = why.or(self.counts.failure);
        }
        self.counts
    }
}

/// The client that an alert is about, if it is about one.
fn client(alert: &Alert) -> Option<IpAddr> {
    let of_client = |field: &Field| matches!(field, Field::ClientIp | Field::PeerIp);
    let mut named = alert.entities.iter().filter(|e| of_client(&e.shown.field));
    let text = str::from_utf8(&named.next()?.shown.value).ok()?;
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests;
