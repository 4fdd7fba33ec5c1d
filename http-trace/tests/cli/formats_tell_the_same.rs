//! All formats report the same facts about a capture, and readers of Zeek's and Suricata's logs read ours.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::NGINX;
use crate::command::{records, run};

/// The cells of each line (RFC 4180).
fn cells(text: &str) -> Vec<Vec<String>> {
    let line = |line: &str| {
        let mut cells = vec![String::new()];
        // Every second part was quoted; `""` is a quote.
        for (at, part) in line.replace("\"\"", "\0").split('"').enumerate() {
            let mut parts = part.split(if at % 2 == 0 { ',' } else { '\n' });
            cells.last_mut().unwrap().push_str(parts.next().unwrap());
            cells.extend(parts.map(str::to_owned));
        }
        let cells = cells.into_iter().map(|cell| cell.replace('\0', "\""));
        cells.collect()
    };
    text.split_terminator("\r\n").map(line).collect()
}

#[test]
fn csv_and_tracee_hold_the_events_that_json_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let [json, csv, tracee, v1] = ["json", "csv", "tracee", "tracee-v1"].map(path);
    let outputs = [
        format!("json:{json}"),
        format!("csv:{csv}"),
        format!("tracee:{tracee}"),
        format!("tracee-v1:{v1}"),
    ];
    let [a, b, c, d] = outputs.each_ref().map(String::as_str);
    let ran = run(&["-r", NGINX, "-o", a, "-o", b, "-o", c, "-o", d]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let json = records(&fs::read_to_string(json).unwrap());
    let (events, others): (Vec<_>, Vec<_>) =
        json.iter().partition(|record| record["event"]["kind"] == "event");

    let text = fs::read_to_string(csv).unwrap();
    let lines = cells(&text);
    assert_eq!(
        lines[0].join(","),
        "time,client,client_port,server,server_port,method,host,path,query,status,reason,version,\
         content_length,body_bytes,ttfb_ms,duration_ms,user_agent,process,pod,flags"
    );
    assert_eq!(lines.len(), 1 + events.len());
    for (line, event) in lines[1..].iter().zip(&events) {
        let shown = |pointer: &str| match event.pointer(pointer) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(number) => number.to_string(),
            None => String::new(),
        };
        assert_eq!(line.len(), lines[0].len(), "{line:?}");
        for (at, pointer) in [
            (0, "/@timestamp"),
            (1, "/client/ip"),
            (2, "/client/port"),
            (5, "/http/request/method"),
            (7, "/url/path"),
            (9, "/http/response/status_code"),
            (13, "/http/response/body/bytes"),
        ] {
            assert_eq!(line[at], shown(pointer), "{pointer}");
        }
    }

    let tracee = records(&fs::read_to_string(tracee).unwrap());
    let of = |name: &str| {
        let events = tracee.iter().filter(|event| event["eventName"] == name);
        events.collect::<Vec<_>>()
    };
    let statuses: Vec<_> = of("net_packet_http_response")
        .iter()
        .map(|event| event["args"][1]["value"]["status_code"].clone())
        .collect();
    let expected: Vec<_> = events
        .iter()
        .flat_map(|event| {
            let early = event["http_trace"]["informational"].as_array();
            let heads = early.into_iter().flatten().chain(event["http"].get("response"));
            heads.map(|head| head["status_code"].clone())
        })
        .collect();
    assert_eq!(statuses, expected);
    let requests = events.iter().filter(|event| event["http"].get("request").is_some());
    assert_eq!(of("net_packet_http_request").len(), requests.count());

    // Both Tracee formats have the same records with the same heads.
    let v1 = records(&fs::read_to_string(v1).unwrap());
    assert_eq!(v1.len(), tracee.len());
    for (new, old) in v1.iter().zip(&tracee) {
        let [id, old_id] = [&new["id"], &old["eventId"]];
        assert_eq!(old_id.as_str().unwrap(), id.to_string());
        assert_eq!(new["name"], old["eventName"]);
        let (data, args) = (&new["data"], &old["args"]);
        for (at, names) in [
            (0, &["src_ip", "dst_ip", "src_port", "dst_port", "iface"][..]),
            (1, &["method", "protocol", "uri_path", "status", "status_code"]),
        ] {
            assert_eq!(data[at]["name"], args[at]["name"]);
            for name in names {
                let (value, old) = (&data[at]["value"][name], &args[at]["value"][name]);
                // Empty values are left out.
                let is_left_out = value.is_null() && old.as_str().is_none_or(str::is_empty);
                assert!(value == old || is_left_out, "{name}: {value} {old}");
            }
        }
        let length = args[1]["value"]["content_length"].as_i64().unwrap();
        let new_length = data[1]["value"]["content_length"].as_str().unwrap_or("0");
        assert_eq!(new_length, length.to_string());
    }
    for format in ["csv", "tracee", "tracee-v1"] {
        let said = format!("{} alerts and losses not written as {format}", others.len());
        assert!(ran.err.contains(&said), "{}", ran.err);
    }
}

const FACTS: [&str; 10] = [
    "/client/ip", "/client/port", "/server/ip", "/server/port", "/http/request/method",
    "/url/original", "/user_agent/original", "/http/response/status_code",
    "/http/response/body/bytes", "/http/request/referrer",
];

/// The values of a record at these pointers as text; empty if absent.
fn facts(record: &serde_json::Value, pointers: &[&str]) -> Vec<String> {
    let shown = |pointer: &&str| match record.pointer(pointer) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    pointers.iter().map(shown).collect()
}

fn event_facts(json: &[serde_json::Value]) -> Vec<Vec<String>> {
    let events = json.iter().filter(|record| record["event"]["kind"] == "event");
    events.map(|event| facts(event, &FACTS)).collect()
}

#[test]
fn eve_and_zeek_hold_the_events_that_json_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let names = ["json", "eve", "zeek", "zeek-tsv"];
    let outputs = names.map(|name| format!("{name}:{}", path(name)));
    let mut arguments = vec!["-r", NGINX];
    arguments.extend(outputs.iter().flat_map(|output| ["-o", output]));
    let ran = run(&arguments);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let [json, eve, zeek, tsv] = names.map(|name| fs::read_to_string(path(name)).unwrap());
    let expected = event_facts(&records(&json));
    assert!(expected.len() > 20, "{}", expected.len());

    // These formats always have a length: 0 if it is unknown.
    let length = |mut facts: Vec<String>| {
        if facts[8].is_empty() {
            facts[8] = "0".into();
        }
        facts
    };
    let expected: Vec<_> = expected.into_iter().map(length).collect();
    let of_eve = records(&eve);
    let of_eve = of_eve.iter().filter(|record| record["event_type"] == "http");
    let of_eve: Vec<_> = of_eve
        .map(|record| {
            let pointers = [
                "/src_ip", "/src_port", "/dest_ip", "/dest_port", "/http/http_method", "/http/url",
                "/http/http_user_agent", "/http/status", "/http/length", "/http/http_refer",
            ];
            facts(record, &pointers)
        })
        .collect();
    assert_eq!(of_eve, expected);
    let columns = [
        "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "method", "uri", "user_agent",
        "status_code", "response_body_len", "referrer",
    ];
    let of_zeek = records(&zeek);
    let of_zeek = of_zeek.iter().filter(|record| record["_path"] == "http");
    let of_zeek: Vec<_> = of_zeek
        .map(|record| {
            facts(record, &columns.map(|name| format!("/{name}")).each_ref().map(|p| &**p))
        })
        .collect();
    assert_eq!(of_zeek, expected);
    let named = tsv.lines().find_map(|line| line.strip_prefix("#fields\t")).unwrap();
    let named: Vec<&str> = named.split('\t').collect();
    let types = tsv.lines().find_map(|line| line.strip_prefix("#types\t")).unwrap();
    assert_eq!(types.split('\t').count(), named.len());
    let of_tsv: Vec<Vec<String>> = tsv
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), named.len(), "{line}");
            let cell = |name: &&str| {
                let at = named.iter().position(|n| n == name).unwrap();
                match cells[at] {
                    "-" | "(empty)" => String::new(),
                    cell => cell.to_owned(),
                }
            };
            columns.iter().map(cell).collect()
        })
        .collect();
    assert_eq!(of_tsv, expected);

    // Other records: alerts.
    let alerts = |text: &str, at: &str, kind: &str| {
        let all = records(text);
        all.iter().filter(|record| record.pointer(at).is_some_and(|k| k == kind)).count()
    };
    let count = alerts(&json, "/event/kind", "alert");
    assert_eq!(alerts(&eve, "/event_type", "alert"), count);
    assert_eq!(alerts(&zeek, "/_path", "notice"), count);

    // Read them back.
    for name in &names[1..] {
        let ran = run(&["detect", "--events", &path(name), "-o", "json"]);
        assert_eq!(ran.status, 0, "{name}: {}", ran.err);
        let read = event_facts(&records(&ran.out));
        assert_eq!(read.len(), expected.len(), "{name}: {}", ran.err);
        for (read, expected) in read.iter().zip(&expected) {
            assert_eq!(length(read.clone()), *expected, "{name}");
        }
    }
}

/// Requests received by the collector: path and body.
type Posted = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Starts a collector that accepts everything until the test ends.
fn collector() -> (String, Posted) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let posted = Posted::default();
    let of_thread = Arc::clone(&posted);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            loop {
                let (mut path, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if stream.read_line(&mut line).unwrap_or(0) == 0 {
                        break;
                    }
                    let line = line.trim_end().to_ascii_lowercase();
                    if let Some(rest) = line.strip_prefix("post ") {
                        path = rest.split(' ').next().unwrap().to_owned();
                    }
                    if let Some(value) = line.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                if path.is_empty() {
                    break;
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                of_thread.lock().unwrap().push((path, body));
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (url, posted)
}

/// The values of all protobuf fields with this number: bytes, or an integer as text.
fn fields(mut message: &[u8], wanted: u64) -> Vec<Vec<u8>> {
    fn varint(message: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = *message.split_off_first().unwrap();
            value |= u64::from(byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let content = match key & 7 {
            0 => varint(&mut message).to_string().into_bytes(),
            1 => message.split_off(..8).unwrap().to_vec(),
            2 => {
                let length = varint(&mut message) as usize;
                message.split_off(..length).unwrap().to_vec()
            }
            5 => message.split_off(..4).unwrap().to_vec(),
            other => panic!("{other}"),
        };
        if key >> 3 == wanted {
            found.push(content);
        }
    }
    found
}

/// The records posted to a path, each as its attributes, which are the field `number`.
fn attributes(posted: &Posted, path: &str, number: u64) -> Vec<BTreeMap<String, String>> {
    let posted = posted.lock().unwrap();
    let of_path = posted.iter().filter(|(p, _)| p == path);
    let resources = of_path.flat_map(|(_, body)| fields(body, 1));
    let scopes = resources.flat_map(|resource| fields(&resource, 2));
    let records = scopes.flat_map(|scope| fields(&scope, 2));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let value = |any: &[u8]| {
        let plain = fields(any, 1).into_iter().chain(fields(any, 3)).next();
        plain.map_or(String::new(), |plain| text(&plain))
    };
    let all = records.map(|record| {
        let all = fields(&record, number).into_iter().map(|attribute| {
            let key = text(&fields(&attribute, 1)[0]);
            (key, value(&fields(&attribute, 2)[0]))
        });
        all.collect()
    });
    all.collect()
}

#[test]
fn a_collector_gets_the_events_that_json_holds() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("json");
    let (url, posted) = collector();
    let outputs = [format!("json:{}", json.display()), format!("otlp:{url}")];
    let ran = run(&["-r", NGINX, "-o", &outputs[0], "-o", &outputs[1]]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let json = records(&fs::read_to_string(json).unwrap());
    let pointers = [
        ("client.address", "/client/ip"),
        ("client.port", "/client/port"),
        ("network.local.address", "/server/ip"),
        ("network.local.port", "/server/port"),
        ("http.request.method", "/http/request/method"),
        ("url.path", "/url/path"),
        ("url.query", "/url/query"),
        ("user_agent.original", "/user_agent/original"),
        ("http.response.status_code", "/http/response/status_code"),
        ("http.response.body.size", "/http/response/body/bytes"),
    ];
    let of_json = json
        .iter()
        .filter(|record| record["event"]["kind"] == "event")
        .map(|record| facts(record, &pointers.map(|(_, pointer)| pointer)));
    let expected: Vec<_> = of_json.collect();
    assert!(expected.len() > 20, "{}", expected.len());
    let logs = attributes(&posted, "/v1/logs", 6);
    let (alerts, logs): (Vec<_>, Vec<_>) = logs.iter().partition(|log| log.contains_key("rule.id"));
    let spans = attributes(&posted, "/v1/traces", 9);
    for records in [logs, spans.iter().collect()] {
        let got: Vec<Vec<String>> = records
            .iter()
            .map(|record| {
                let fact = |(name, _): &(&str, _)| {
                    // An unusual method is in another attribute.
                    let sent = record.get(&format!("{name}_original"));
                    sent.or(record.get(*name)).cloned().unwrap_or_default()
                };
                pointers.iter().map(fact).collect()
            })
            .collect();
        assert_eq!(got, expected);
    }
    let is_alert = |record: &&serde_json::Value| record["event"]["kind"] == "alert";
    assert_eq!(alerts.len(), json.iter().filter(is_alert).count());
}

#[test]
fn each_output_gets_what_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let names = ["all", "errors", "found", "nobody"];
    let filters = ["", ",status=4xx,5xx", ",status=404,host=*", ",client=192.0.2.0/24"];
    let outputs = [0, 1, 2, 3].map(|at| format!("json:{}{}", path(names[at]), filters[at]));
    let mut arguments = vec!["-r", NGINX, "--status", "!1xx"];
    arguments.extend(outputs.iter().flat_map(|output| ["-o", output]));
    let ran = run(&arguments);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let [all, errors, found, nobody] = names.map(|name| {
        let text = fs::read_to_string(path(name)).unwrap();
        crate::statuses(&text)
    });
    let of = |admits: fn(&u64) -> bool| all.iter().copied().filter(admits).collect::<Vec<_>>();
    assert!(all.len() > 40 && !errors.is_empty() && found.len() < errors.len());
    assert_eq!(errors, of(|status| *status >= 400));
    assert_eq!(found, of(|status| *status == 404));
    assert!(nobody.is_empty());
}

#[test]
fn each_file_has_the_lines_that_it_begins_with_once() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["csv", "zeek-tsv"] {
        let file = folder.path().join(format);
        let output = format!("{format}:{}", file.display());
        for arguments in [&["-r", NGINX][..], &["-r", NGINX, "--status", "299"]] {
            let ran = run(&[arguments, &["-o", &output]].concat());
            assert_eq!(ran.status, 0, "{}", ran.err);
            let text = fs::read_to_string(&file).unwrap();
            let begin = if format == "csv" { "time,client," } else { "#separator" };
            assert!(text.starts_with(begin), "{text}");
            assert_eq!(text.matches(begin).count(), 1);
        }
    }
}

#[test]
fn a_summary_counts_what_json_writes() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("json").to_str().unwrap().to_owned();
    let both = run(&["-r", NGINX, "--summary", "-o", &format!("json:{json}")]);
    assert!(both.err.contains(" events written\n"), "{}", both.err);
    let only = run(&["-r", NGINX, "--summary"]);
    assert!(only.err.contains(" events counted\n"), "{}", only.err);
    assert_eq!(both.status, 0, "{}", both.err);
    let alone = run(&["-r", NGINX, "-o", "summary,every=1s"]);
    assert_eq!(alone.status, 0, "{}", alone.err);
    let key = |record: &serde_json::Value| {
        let facts = [
            "/url/domain", "/destination/port", "/http/response/status_code",
            "/http_trace/no_response",
        ];
        facts.map(|fact| record.pointer(fact).cloned().unwrap_or_default().to_string())
    };
    let mut expected = BTreeMap::<_, u64>::new();
    let mut others = 0;
    for record in records(&fs::read_to_string(json).unwrap()) {
        if record["event"]["kind"] == "event" {
            *expected.entry(key(&record)).or_default() += 1;
        } else {
            others += 1;
        }
    }
    assert!(expected.len() > 5, "{expected:?}");
    for out in [&both.out, &alone.out] {
        let mut counted = BTreeMap::<_, u64>::new();
        let (metrics, rest): (Vec<_>, Vec<_>) =
            records(out).into_iter().partition(|record| record["event"]["kind"] == "metric");
        for record in metrics {
            let summary = &record["http_trace"]["summary"];
            let count = summary["count"].as_u64().unwrap();
            *counted.entry(key(&record)).or_default() += count;
            let latencies = summary["ttfb_ms"].as_object().unwrap().values();
            assert!(latencies.map(|n| n.as_u64().unwrap()).sum::<u64>() <= count);
        }
        assert_eq!(counted, expected);
        assert_eq!(rest.len(), others, "alerts and losses are written as ever");
    }
}
