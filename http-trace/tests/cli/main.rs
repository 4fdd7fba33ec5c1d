//! Tests of the command line: output and exit status.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

#[path = "../common/command.rs"]
mod command;
mod docs_say_what_works;
#[path = "../common/errors.rs"]
mod errors;
mod every_key_is_documented_and_read;
mod formats_tell_the_same;
mod help_and_rules_are_printed_whole;
mod options_do_what_they_say;
mod outputs_overwrite_nothing_that_is_read;
mod pipes_and_signals_lose_nothing;
#[cfg(feature = "live")]
mod the_inventory_is_kept;
mod wrong_input_is_named;

/// Recorded from nginx: 49 responses, among them 404s and a 103.
const NGINX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/nginx.pcap");

/// The status codes of json records.
fn statuses(text: &str) -> Vec<u64> {
    command::records(text)
        .iter()
        .filter_map(|r| r["http"]["response"]["status_code"].as_u64())
        .collect()
}
