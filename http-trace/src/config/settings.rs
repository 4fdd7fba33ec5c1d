//! The settings table: key, option, variable, default, type, parser and help text of each setting. Knows
//! nothing about where values come from ([`super::layers`]).
//!
//! To add a setting, add a row here and use it. The command line, `docs/CONFIG.md` and the fields of
//! [`Config`] are generated from the row: its key is the field name with `-` for `_`, its variable
//! `HTTP_TRACE_` and the name in capitals.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http_trace_common::config::{PortRange, Snippet};
use http_trace_common::record::Hook;
use http_trace_detect::rule::Level;
use http_trace_detect::tune::Tuning;
use http_trace_engine::config::Emit;
use http_trace_model::endpoint::KnownEndpoints;
use http_trace_model::value::{self, boolean};
use ipnet::IpNet;

use super::key::{Form, Key, Shape, list, one, runs, switch, whole, words};
use super::layers::{Layers, joined};
use super::types::{AlsoRedacted, FramingChoice, Source, TcMode};
use super::values::{self, negatable};
use crate::ban::nft::Set;
use crate::enrich::choice::NamesFrom;
use crate::select::{Choice, HeaderPattern, Pattern, Sample, Statuses, filters};
use crate::sink::deliver::Target;
use crate::sink::{Color, HeaderChoice, OutputSpec};

const LEVELS: &[&str] = &["info", "low", "medium", "high", "critical"];

/// Converts `exclude_interface` to `exclude-interface`.
const fn kebab<const N: usize>(field: &str) -> [u8; N] {
    let mut name = [0; N];
    let mut at = 0;
    while at < N {
        let byte = field.as_bytes()[at];
        name[at] = if byte == b'_' { b'-' } else { byte };
        at += 1;
    }
    name
}

macro_rules! settings {
    (
        $($group:literal {
            $($(#[doc = $meaning:literal])+ $name:ident: $type:ty = $key:expr, $parse:expr;)+
        })+
        beside { $($(#[doc = $doc:literal])+ $beside:ident: $beside_type:ty,)+ }
    ) => {
        /// All settings with defaults applied, and values derived from how they were given.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($($(#[doc = $meaning])+ pub $name: $type,)+)+
            $($(#[doc = $doc])+ pub $beside: $beside_type,)+
        }

        /// Every setting, in the order of help and documentation.
        pub const KEYS: &[Key] = &[$($(Key {
            name: {
                const NAME: [u8; stringify!($name).len()] = kebab(stringify!($name));
                match std::str::from_utf8(&NAME) {
                    Ok(name) => name,
                    Err(_) => "",
                }
            },
            group: $group,
            meaning: concat!($($meaning),+).trim_ascii(),
            ..$key
        },)+)+];

        impl Config {
            /// Parses every setting; the error has a line for each fault.
            pub(super) fn read(layers: &Layers) -> Result<Self, String> {
                let mut faults = layers.faults.clone();
                $($(let $name: Option<$type> = layers.read(stringify!($name), $parse)
                    .map_err(|why| faults.push(why)).ok();)+)+
                let config = || Some(Config {
                    $($($name: $name?,)+)+
                    $($beside: Default::default(),)+
                });
                config().filter(|_| faults.is_empty()).ok_or_else(|| joined(faults))
            }
        }
    };
}

settings! {
    "Source" {
        /// Read captures instead of tracing: pcap or pcapng, plain, .gz or .zst; files, folders, or - for
        /// stdin
        read: Vec<PathBuf> = Key::new("FILE", Shape::Whole, Form::Words)
            .short('r').only(runs::LIVE | runs::CAPTURES), PathBuf::from_str;
        /// Interfaces to trace (globs); default: all that are up, and new ones as they appear
        interface: Vec<String> = words("IF").short('i').only(runs::LIVE), values::interface_glob;
        /// Interfaces never to trace (globs)
        exclude_interface: Vec<String> = words("IF").only(runs::LIVE), values::interface_glob;
        /// Trace only interfaces that are up at the start, and keep no capability afterwards
        no_hotplug: bool = switch().only(runs::LIVE), boolean;
        /// Where to attach: tc, socket-filter, cgroup, xdp; several: tc,cgroup
        hook: Vec<Hook> = list("LIST").default("tc").offers(&["tc", "socket-filter", "cgroup", "xdp"])
            .only(runs::LIVE), values::hook;
        /// Tunnels to decapsulate in live runs: vxlan, vxlan-joined, ipip; vlan keeps VLANs apart (captures:
        /// always all)
        decap: Vec<u32> = list("LIST").only(runs::LIVE), values::tunnel;
        /// Only these server ports; default: all
        port: Vec<PortRange> = words("PORT[-PORT]").short('p'), value::ports;
        /// Only requests of clients in these networks (client.ip: the real client behind --trusted-proxies)
        client: Choice<IpNet> = list("CIDR").reloads(), negatable(value::network);
        /// Only connections from these networks (source.ip, which may be a proxy's)
        peer: Choice<IpNet> = list("CIDR").reloads(), negatable(value::network);
        /// Only servers in these networks
        server: Choice<IpNet> = list("CIDR").reloads(), negatable(value::network);
        /// Trust these proxies (networks) to name the client in X-Forwarded-For, Forwarded, X-Real-IP or the
        /// PROXY protocol; loopback is always trusted unless `none` is given
        trusted_proxies: Vec<Option<IpNet>> = words("CIDR").reloads(), values::proxy;
        /// Do not name the processes, services, containers and pods at the ends of connections
        no_attribution: bool = switch().only(runs::LIVE), boolean;
        /// Name pods from the Kubernetes API server: auto (in a pod with a service account), off, or a
        /// kubeconfig file
        kubernetes: NamesFrom = one("auto|off|FILE").default("auto").only(runs::LIVE), NamesFrom::api_server;
        /// Name containers from the CRI socket if no runtime file names them: auto, off, or a path
        cri_socket: NamesFrom = one("auto|off|PATH").default("auto").only(runs::LIVE), NamesFrom::cri_socket;
        /// Also report the command lines of processes (process.command_line), redacted
        command_line: bool = switch().only(runs::LIVE), boolean;
        /// With -r: run the kernel's filter in front of the judge, as in live runs
        kernel_filter: bool = switch().only(runs::CAPTURES), boolean;
        /// With -r: skip packets with a wrong IP or TCP checksum
        verify_checksums: bool = switch().only(runs::CAPTURES), boolean;
        /// Stop after this time, e.g. 30s (with -r: capture time)
        duration: Option<Duration> = one("TIME").only(runs::LIVE | runs::CAPTURES), value::some_time;
    }
    "Filters" {
        /// Write only these statuses: 404, 5xx, 400-499; 1xx selects informational heads too
        status: Choice<Statuses> = list("LIST").reloads(), negatable(Statuses::parse);
        /// Write only these request methods
        method: Choice<String> = list("LIST").reloads(), negatable(filters::method);
        /// Write only these hosts (Host header, or the authority of the target)
        host: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, true));
        /// Write only these paths (without the query)
        path: Choice<Pattern> = whole("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only these user agents
        user_agent: Choice<Pattern> = whole("GLOB").reloads(), negatable(|t| Pattern::parse(t, true));
        /// Write only messages with this header, in the request or the response
        header: Choice<HeaderPattern> = whole("NAME=GLOB").reloads(), negatable(filters::header_pattern);
        /// Write only requests and responses of these processes: names or PIDs
        process: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only requests and responses of processes in these containers: names or ids (3f5a* for a
        /// prefix)
        container: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only requests and responses of these pods: names or UIDs
        pod: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only requests and responses of pods in these Kubernetes namespaces
        namespace: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only events that counted for these rules, and their alerts
        rule: Choice<String> = list("ID").reloads(), negatable(String::from_str);
        /// Write only responses whose first byte took at least this long (http_trace.ttfb_ns), e.g. 100ms
        min_latency: Choice<u64> = one("TIME").reloads(), negatable(filters::nanoseconds);
        /// Write only this share of responses by status, e.g. 2xx=1%,3xx=10%: the first matching entry
        /// applies; deterministic for a capture; rules see all responses
        sample: Vec<Sample> = list("STATUS=N%").reloads(), Sample::parse;
        /// Stop after writing N response events
        count: Option<u64> = one("N").short('c'), value::positive;
    }
    "Detection" {
        /// Add the Sigma rules of this file, or of all .yml and .yaml files in this folder
        rules: Vec<PathBuf> = whole("PATH").reloads(), PathBuf::from_str;
        /// Disable rules by id or glob of ids: 'http-posture-*'
        disable_rule: Vec<Pattern> = list("ID").reloads(), |t| Pattern::parse(t, false);
        /// File of known endpoints, one per line: METHOD HOST PATH (`report --as allow` writes one);
        /// successful responses from others raise an alert
        known: Option<Arc<KnownEndpoints>> = one("FILE").reloads(), values::known_endpoints;
        /// A path template for reports and rules: '/users/{name}'
        template: Vec<String> = whole("PATH").reloads(), values::template;
        /// Disable the built-in rules
        no_builtin_rules: bool = switch().reloads(), boolean;
        /// Exit with status 3 after an alert of this level or above: info, low, medium, high, critical
        fail_on_alert: Option<Level> = one("LEVEL").offers(LEVELS), values::level;
        /// Keep counters, open alerts and hits in this file across runs, and the inventory for `report` beside
        /// it (FILE.inventory.db)
        state: Option<PathBuf> = one("FILE"), PathBuf::from_str;
        /// Also send alerts here: stdout, file:PATH[,mode=640], command:PROGRAM ARGUMENTS, a URL, syslog,
        /// syslog:udp://HOST or syslog:tcp://HOST
        alerts_to: Vec<Target> = whole("WHERE"), Target::from_str;
    }
    "Bans" {
        /// nftables set for banned clients: a dry run that only marks alerts, unless a live run is given a ban
        /// time. A missing table is created with `nft`. The eBPF programs only observe
        ban: Option<Set> = one("nft:TABLE/SET"), Set::from_str;
        /// Ban for this long, e.g. 1h; without it --ban is a dry run
        ban_for: Option<Duration> = one("TIME").only(runs::LIVE), value::some_time;
        /// Ban clients of alerts of this level or above: info, low, medium, high, critical
        ban_level: Level = one("LEVEL").default("medium").offers(LEVELS), values::level;
        /// Never ban clients in these networks
        ban_allow: Vec<IpNet> = list("CIDR"), value::network;
        /// Create the table so that it resets connections of banned clients; default: it drops their packets
        ban_reset: bool = switch().only(runs::LIVE), boolean;
        /// Lift the bans of this run at its end; default: they expire
        ban_lift: bool = switch().only(runs::LIVE), boolean;
        /// maximum number of bans in force at once; further clients are not banned
        ban_most: u64 = one("N").default("10000").no_option(), value::positive;
    }
    "Output" {
        /// json, pretty, tracee, tracee-v1, eve, zeek, zeek-tsv, csv, report or summary, to a file with :FILE
        /// (live runs append to it), or otlp to an OpenTelemetry collector with :http://HOST:4318 or
        /// :grpc://HOST:4317; options follow: ,alerts=LEVEL leaves out alerts below it (none: all of them),
        /// ,fields=NAME,… or ,fields=compact writes only these fields of events (json), ,mode=640 sets the
        /// file's permissions, ,rotate=100M,1d renames the file to FILE.1 at this size or age and ,keep=7
        /// keeps that many, ,signals=logs,spans,metrics and ,compression=gzip are for otlp, ,every=10s for
        /// summary and metrics, ,as=html and ,unseen=30d for report, ,status=5xx, ,client=internal and other
        /// filters write only these events; repeatable; default: pretty on a terminal, json otherwise
        output: Vec<OutputSpec> = whole("FORMAT[:PLACE][,OPTION]").short('o'), OutputSpec::from_str;
        /// Count responses by service, status and latency every 10 s and write no events: the same as -o
        /// summary, and the cheapest way to run. Rules still see every response
        summary: bool = switch(), boolean;
        /// Response headers to write: all, none, or names
        headers: HeaderChoice = list("all|none|NAME,…").short('H').default("all"), values::header_name;
        /// Request headers to write: none, all, or names
        request_headers: HeaderChoice = list("NAME,…").default("none"), values::header_name;
        /// Also write the first N bytes of bodies (N up to 4096), decoded: 512:4xx,5xx; statuses as with
        /// --status
        body_snippet: Option<Snippet> =
            one("N[:STATUS]").only(runs::LIVE | runs::CAPTURES), values::snippet;
        /// When to write an event: auto (at the end, or 2 s after the head), head, end
        emit: Emit = one("WHEN").default("auto").offers(&Emit::NAMES).only(runs::LIVE | runs::CAPTURES), Emit::from_str;
        /// Colours of 'pretty': auto, always, never
        color: Color = one("WHEN").default("auto").offers(&Color::NAMES), Color::from_str;
        /// Times of 'pretty' in UTC, as in all other formats; default: local time
        utc: bool = switch(), boolean;
        /// Flush after every line
        line_buffered: bool = switch(), boolean;
        /// Write cookies, credentials and tokens as they were sent
        show_secrets: bool = switch().reloads(), boolean;
        /// Also redact: personal (fields named email, phone, ssn, card and the like, and mail addresses
        /// anywhere)
        redact: Vec<AlsoRedacted> = list("WHAT").reloads(), AlsoRedacted::from_str;
        /// Print only errors on standard error
        quiet: bool = Key::new("", Shape::One, Form::Flag).short('q').default("false"), boolean;
        /// 'pretty' shows headers (-v), flags and interfaces (-vv); the summary shows every counter (-v); the
        /// eBPF programs log their mode and errors (-vv)
        verbose: u8 = Key::new("", Shape::One, Form::Count).short('v').default("0"), values::verbosity;
    }
    "Privileges" {
        /// Read the executable path of other users' processes (process.executable); keeps CAP_SYS_PTRACE
        executables: bool = switch().only(runs::LIVE), boolean;
        /// Switch to this user once the programs are attached; outputs, state and alert commands run as it
        user: Option<String> = one("NAME").only(runs::LIVE), String::from_str;
    }
    "Health" {
        /// Serve /metrics (Prometheus), /healthz and /readyz at this address, e.g. 127.0.0.1:9464
        listen: Option<SocketAddr> = one("ADDRESS:PORT").only(runs::LIVE), values::endpoint;
    }
    "Configuration" {
        /// Load settings and rules again when their files change, as on SIGHUP; for files that are mounted, as those of
        /// a ConfigMap
        watch_config: bool = switch().only(runs::LIVE), boolean;
    }
    "Without an option" {
        /// names of further header fields to redact, in any case and with any separators; parameters and
        /// members of these names too
        redact_headers: Vec<String> = list("NAME").reloads().no_option(), value::field_name;
        /// names of further parameters, form fields, and JSON and XML members to redact
        redact_parameters: Vec<String> = list("NAME").reloads().no_option(), values::lower_case;
        /// queue of each output for a slow reader; a live run drops events beyond it and reports them
        /// (`output_queue`), a replay waits for the reader
        output_queue: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// ring buffer between kernel and agent, rounded up to a power of two from 64 KiB to 1 GiB;
        /// records beyond it are lost and reported (`ring_full`)
        ring_size: usize = one("SIZE").default("16MiB").no_option(), value::bytes;
        /// connections followed at once, in the kernel and in the agent; beyond it closed, silent and idle
        /// ones are evicted, those of the clients with the most first; open ones that the agent evicts are
        /// reported (`table_full`)
        max_flows: u64 = one("N").default("65536").no_option(), values::flows;
        /// memory for messages in flight, of all connections; beyond it connections are evicted, those of the
        /// clients with the most first, and reported (`heads_in_flight`)
        heads_memory: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// memory for out-of-order segments, of all connections; beyond it the oldest gaps are given up and
        /// reported (`reorder_memory`)
        reorder_memory: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// approximate memory for rule counters; beyond it the least recently used counters give way to new
        /// ones that are seen often
        detect_memory: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// how long a request waits for its response before it is written without one
        /// (`no_response: timeout`)
        response_timeout: Duration = one("TIME").default("30s").no_option(), value::some_time;
        /// how often the `--state` file is written if anything changed, and ten times as rarely if not
        state_interval: Duration = one("TIME").default("60s").no_option(), value::some_time;
        /// maximum size of the `--state` file, at least 64 KiB
        state_size: usize = one("SIZE").default("64MiB").no_option(), values::state_size;
        /// how long the inventory of `--state` keeps the entries of a day
        inventory_keep: Duration = one("TIME").default("90d").no_option(), value::some_time;
        /// maximum size of the inventory database, at least 64 KiB; the oldest rows are removed first
        inventory_size: usize = one("SIZE").default("256MiB").no_option(), values::state_size;
        /// `true`: `/metrics` also counts responses by service and URL template
        /// (`http_trace_endpoint_responses_total`), at most 512 endpoints, then `_OTHER`
        metric_templates: bool = one("BOOL").default("false").no_option(), boolean;
        /// `clsact` attaches the programs of `--hook tc` to a clsact qdisc on any kernel, instead of TCX
        tc: TcMode = one("MODE").default("auto").no_option(), TcMode::from_str;
        /// `host` leaves all framing to the agent, as on kernels that cannot do it
        framing: FramingChoice = one("MODE").default("auto").no_option(), FramingChoice::from_str;
        /// name of this Kubernetes node; default: the host name
        node_name: Option<String> = one("NAME").no_option(), values::kubernetes_name;
        /// pod labels to report in events
        pod_labels: Vec<String> = list("NAME")
            .default("app.kubernetes.io/name,app.kubernetes.io/version,app.kubernetes.io/component,app")
            .no_option(), values::kubernetes_name;
        /// addresses with ports (`127.0.0.1:4318`) never to trace, like the agent's own sockets: e.g. of a
        /// local forwarder
        own_endpoints: Vec<SocketAddr> = list("ADDRESS:PORT").no_option(), values::endpoint;
    }
    beside {
        /// Where events come from.
        source: Source,
        /// Write alerts but no responses (`rules test`, `detect`).
        alerts_only: bool,
        /// The run tests rules, and makes no sense without them (`rules test`).
        tries_rules: bool,
        /// Changes to rules: the `[detect]` table of the file.
        tuning: Tuning,
        /// The configuration file that was read, if any.
        file: Option<PathBuf>,
        /// Where each setting was given.
        layers: Layers,
        /// Options that limit what is traced, as given.
        limits: Vec<String>,
        /// Options that filter what is written, as given.
        filters: Vec<String>,
        /// `--sample`, as given.
        sampled: Vec<String>,
        /// Problems with the given settings that are not errors.
        warnings: Vec<String>,
    }
}
