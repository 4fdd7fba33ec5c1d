//! What outputs and deliveries of alerts have to say during a run: that they fail or succeed again, and what their
//! destinations lost. Writes nothing.

use std::time::{Duration, Instant};

use http_trace_model::event::{Loss, LossUnit};

use super::{OneOutput, Outlet};
use crate::messages::{Records, counted};
use crate::sink::deliver::Delivery;
use crate::sink::failing::News;
use crate::sync::lock;

/// Least time between two reports, which say how many were lost meanwhile.
const EVERY: Duration = Duration::from_secs(10);

/// Place of alerts that were not delivered.
pub const UNDELIVERED: (&str, LossUnit) = ("alert_delivery", LossUnit::Alerts);

/// What was reported so far.
#[derive(Debug, Default)]
pub struct ReportedLosses {
    told: u64,
    told_at: Option<Instant>,
    since_ns: u64,
}

impl ReportedLosses {
    /// What is new of `lost` so far, if a report is due; `now_ns` is event time. With `is_last`, one always is.
    pub fn news(
        &mut self,
        lost: u64,
        (place, unit): (&'static str, LossUnit),
        now_ns: u64,
        is_last: bool,
    ) -> Option<Loss> {
        let count = lost.saturating_sub(self.told);
        let is_due = is_last || self.told_at.is_none_or(|at| at.elapsed() >= EVERY);
        if count == 0 || !is_due {
            return None;
        }
        let since_ns = match self.told_at {
            Some(_) => self.since_ns,
            None => now_ns,
        };
        (self.told, self.told_at, self.since_ns) = (lost, Some(Instant::now()), now_ns);
        Some(Loss { count, unit, place, since_ns, until_ns: now_ns, detail: None })
    }
}

impl Outlet {
    /// Messages about outputs and deliveries that began to fail or succeed again. Losses that they count are reported.
    pub fn news(&mut self) -> Vec<String> {
        let mut news = self.losses_behind(false);
        let of = |one: &OneOutput| {
            let writer = one.writer.as_ref()?;
            let name = &writer.name;
            Some(match writer.news()? {
                News::Fails(why) => format!(
                    "cannot write to {name}: {why}; it is tried again, and what the \
                     queue cannot hold until then is lost and counted"
                ),
                News::GoesOn => format!("{name} is written again"),
            })
        };
        news.extend(self.outputs.iter().filter_map(of));
        let of = |one: &OneOutput| {
            let name = &one.writer.as_ref()?.name;
            Some(match lock(&one.rotates).news()? {
                News::Fails(why) => {
                    format!("cannot rotate {name}: {why}; it grows until it can be renamed")
                }
                News::GoesOn => format!("{name} is rotated again"),
            })
        };
        news.extend(self.outputs.iter().filter_map(of));
        let of = |(delivery, _): &(Delivery, ReportedLosses)| {
            let name = &delivery.name;
            Some(match delivery.news()? {
                News::Fails(why) => format!("cannot deliver alerts to {name}: {why}"),
                News::GoesOn => format!("alerts are delivered to {name} again"),
            })
        };
        news.extend(self.deliveries.iter().filter_map(of));
        news
    }

    /// Reports alerts that were not delivered, and records that a destination rejected, of which it says why.
    pub(super) fn losses_behind(&mut self, is_last: bool) -> Vec<String> {
        let (mut losses, mut news) = (Vec::new(), Vec::new());
        for (delivery, behind) in &mut self.deliveries {
            losses.extend(behind.news(delivery.lost(), UNDELIVERED, self.now_ns, is_last));
        }
        for one in &mut self.outputs {
            let what = ("output_rejected", LossUnit::Records);
            let loss = one.behind.news(one.exporter.refused(), what, self.now_ns, is_last);
            if let (Some(loss), Some(writer)) = (&loss, &one.writer) {
                let (records, why) = (counted(loss.count, "record"), one.exporter.why());
                news.push(format!("{records} rejected by {}: {why}", writer.name));
            }
            losses.extend(loss);
        }
        losses.iter().for_each(|loss| self.loss(loss));
        news
    }
}

/// What was dropped at a full queue.
pub fn queue_losses(
    records: Records,
    since_ns: u64,
    until_ns: u64,
) -> impl Iterator<Item = Loss> + Clone {
    let counts =
        [(records.events, LossUnit::Events), (records.alerts, LossUnit::Alerts)].into_iter();
    counts.filter(|(count, _)| *count > 0).map(move |(count, unit)| Loss {
        count,
        unit,
        place: "output_queue",
        since_ns,
        until_ns,
        detail: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_one_report_and_its_rest_comes_last() {
        let mut behind = ReportedLosses::default();
        let mut news = |lost, is_last| {
            let loss = behind.news(lost, ("here", LossUnit::Records), 7, is_last);
            loss.map(|loss| loss.count)
        };
        assert_eq!(news(0, false), None);
        assert_eq!(news(3, false), Some(3));
        assert_eq!(news(9, false), None);
        assert_eq!(news(9, true), Some(6));
        assert_eq!(news(9, true), None);
    }
}
