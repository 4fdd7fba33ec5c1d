//! Collects the alerts that the agent wrote, and after how many requests each came.

use std::collections::HashSet;
use std::net::IpAddr;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::seen::{Report, Seen};

/// Results of a run.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub responses: usize,
    /// Requests without a response.
    pub unanswered: usize,
    /// Distinct methods and targets.
    pub distinct: usize,
    /// Seconds from the first response to the last.
    pub seconds: f64,
    /// The first alert of each rule and level, in order.
    pub alerts: Vec<Alert>,
    /// Losses as reported.
    pub losses: Vec<String>,
}

/// The first alert of a rule.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The rule's id.
    pub rule: String,
    /// Its severity, 0 to 10.
    pub severity: u64,
    /// Responses until then, including the one that raised it.
    pub responses: usize,
    /// Distinct methods and targets among those.
    pub distinct: usize,
    /// Seconds since the first response.
    pub seconds: f64,
    /// The client it is about, if any.
    pub client: Option<IpAddr>,
    /// Its summary.
    pub message: String,
    /// Total number of alerts of this rule and level.
    pub times: usize,
}

impl Heard {
    /// Reads what a run of the agent wrote.
    pub fn of(report: &Report) -> Result<Self> {
        let mut heard = Heard {
            responses: report.responses.len(),
            unanswered: report.unanswered.len(),
            losses: report
                .losses
                .iter()
                .map(|loss| loss["http_trace"]["lost"].to_string())
                .collect(),
            ..Heard::default()
        };
        let targets = |seen: &[Seen]| -> usize {
            let all = seen.iter().filter_map(|seen| seen.request.as_ref());
            all.collect::<HashSet<_>>().len()
        };
        heard.distinct = targets(&report.responses);
        let times = report.responses.iter().map(|seen| time(&seen.json));
        let times = times.collect::<Result<Vec<_>>>()?;
        let first = times.iter().min().copied().unwrap_or_default();
        let last = times.iter().max().copied().unwrap_or_default();
        let since = |at: Timestamp| at.duration_since(first).as_secs_f64();
        heard.seconds = since(last);
        for (alert, responses) in report.alerts.iter().zip(&report.alerts_after) {
            let ours = &alert["http_trace"]["alert"];
            if ours["state"] != "opened" {
                continue;
            }
            let rule = alert["rule"]["id"].as_str().context("rule.id")?.to_owned();
            let severity = alert["event"]["severity"].as_u64();
            let severity = severity.context("event.severity")?;
            let known = heard.alerts.iter_mut();
            if let Some(known) =
                known.into_iter().find(|known| known.rule == rule && known.severity == severity)
            {
                known.times += 1;
                continue;
            }
            let entities = ours["entities"].as_array().into_iter().flatten();
            let client = entities
                .filter(|entity| entity["type"] == "ip")
                .find_map(|entity| entity["value"].as_str()?.parse().ok());
            heard.alerts.push(Alert {
                rule,
                severity,
                responses: *responses,
                distinct: targets(&report.responses[..*responses]),
                seconds: since(time(alert)?).max(0.0),
                client,
                message: alert["message"].as_str().unwrap_or_default().to_owned(),
                times: 1,
            });
        }
        Ok(heard)
    }

    pub fn first(&self, rule: &str) -> Option<&Alert> {
        self.alerts.iter().find(|alert| alert.rule == rule)
    }

    /// The rules with an alert above informational.
    pub fn raised(&self) -> Vec<&str> {
        let raised = self.alerts.iter().filter(|alert| alert.severity > 0);
        let mut rules: Vec<_> = raised.map(|alert| alert.rule.as_str()).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

fn time(record: &Value) -> Result<Timestamp> {
    let text = record["@timestamp"].as_str().context("@timestamp")?;
    text.parse().with_context(|| format!("@timestamp {text}"))
}
