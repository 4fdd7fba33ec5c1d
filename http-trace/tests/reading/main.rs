//! Reading captures with the command: formats, files, link layers, and the resulting output.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod body_snippets_are_the_beginnings_of_bodies;
#[path = "../common/command.rs"]
mod command;
mod damaged_captures_give_what_they_hold;
mod damaged_packets_are_left_out_on_request;
mod events_name_their_tags_and_tunnels;
mod every_capture_format_is_read;
mod every_capture_of_the_corpus_is_read_to_its_end;
mod files_and_folders_are_read_in_order;
mod one_segment_is_one_record;
mod rows;

use command::{Ran, run};
use http_trace_testkit::pcap;
use http_trace_testkit::talk::Talk;
use http_trace_testkit::tcp::{LinkType, Path};
use serde_json::Value;

/// A connection of raw IPv4 packets with its handshake.
fn open() -> Talk {
    Talk::open(Path {
        client: ([10, 0, 0, 2], 50_000).into(),
        server: ([10, 0, 0, 1], 80).into(),
        link: LinkType::Raw,
        vlan: None,
    })
}

/// A capture of raw IP packets.
fn raw(packets: &[Vec<u8>]) -> tempfile::NamedTempFile {
    pcap::temporary(LinkType::Raw, packets)
}

/// The records of a run, validated against the schema.
fn admitted(ran: &Ran) -> Vec<Value> {
    let schema: Value = serde_json::from_str(&run(&["schema"]).out).expect("the schema is JSON");
    let schema = jsonschema::draft202012::new(&schema).expect("a schema");
    let records = command::records(&ran.out);
    for record in &records {
        if let Err(error) = schema.validate(record) {
            panic!("{error} at {}: {record}", error.instance_path);
        }
    }
    records
}

fn read(capture: &tempfile::NamedTempFile, arguments: &[&str]) -> Ran {
    let path = capture.path().to_str().unwrap();
    run(&[&["-r", path], arguments].concat())
}
