//! The commands that apply rules: `rules`, `detect` and `--state`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[path = "../common/command.rs"]
mod command;
mod counts_are_kept_in_the_state_file;
#[path = "../common/errors.rs"]
mod errors;
mod faulty_rules_are_named_and_the_rest_load;
mod recorded_events_raise_the_alerts_of_the_capture;
mod rules_are_listed_explained_and_tested;

/// A rule that loads, of which parts are replaced.
const GOOD: &str = "\
title: Not found
name: NAME
logsource:
  category: webserver
detection:
  selection:
    sc-status: 404
  condition: selection
level: low
";
