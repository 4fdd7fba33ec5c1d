//! The one table of settings: key, option, variable, default, type, parser and meaning of each.
//! Knows nothing about where values come from ([`super::layers`]).
//!
//! A new setting is one row here and its use. The command line, `docs/CONFIG.md` and the fields of
//! [`Config`] follow from the row: its key is the field's name with `-` for `_`, its variable
//! `HTTP_TRACE_` and the name in capitals.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_trace_common::config::{PortRange, Snippet};
use http_trace_common::record::Hook;
use http_trace_detect::rule::Level;
use http_trace_detect::tune::Tuning;
use http_trace_model::value::{self, boolean};
use ipnet::IpNet;

use super::key::{Form, Key, Shape, list, one, runs, switch, whole, words};
use super::layers::{Error, Layers};
use super::types::{AlsoRedacted, Emit, FramingChoice, KnownFile, Source, TcChoice};
use super::values::{self, negatable, path, text, word};
use crate::ban::nft::Set;
use crate::enrich::choice::{ApiServer, CriSocket};
use crate::select::{Choice, HeaderPattern, Pattern, Sample, Statuses, filters};
use crate::sink::deliver::Target;
use crate::sink::{Color, HeaderChoice, OutputSpec};

/// `exclude-interface` of `exclude_interface`.
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
        /// Everything that can be set, with defaults applied, and what follows from how it was given.
        #[derive(Clone, Debug)]
        pub struct Config {
            $($($(#[doc = $meaning])+ pub $name: $type,)+)+
            $($(#[doc = $doc])+ pub $beside: $beside_type,)+
        }

        /// Every setting there is, in the order of help and documentation.
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
            /// Reads every setting; the first that is wrong is the error.
            pub(super) fn read(layers: &Layers) -> Result<Self, Error> {
                Ok(Config {
                    $($($name: layers.read(stringify!($name), $parse)?,)+)+
                    $($beside: Default::default(),)+
                })
            }
        }
    };
}

settings! {
    "Source" {
        /// Read captures instead of tracing: pcap, pcapng, .gz or .zst of either, folders, - for stdin
        read: Vec<PathBuf> = Key::new("FILE", Shape::Whole, Form::Words)
            .short('r').only(runs::LIVE | runs::CAPTURES), path;
        /// Trace these interfaces (globs); default: all that are up, and new ones as they appear
        interface: Vec<String> = words("IF").short('i').only(runs::LIVE), values::interface_glob;
        /// Never trace these interfaces (globs)
        exclude_interface: Vec<String> = words("IF").only(runs::LIVE), values::interface_glob;
        /// Trace only the interfaces that are up at the start, and keep no capability after it
        no_hotplug: bool = switch().only(runs::LIVE), boolean;
        /// Where to look: tc, socket-filter, cgroup, xdp; several at once: tc,cgroup
        hook: Vec<Hook> = list("LIST").default("tc").only(runs::LIVE), values::hook;
        /// Tunnels to look into, live: vxlan, vxlan-joined, ipip; and vlan, to tell VLANs apart
        /// (captures: always all)
        decap: Vec<u32> = list("LIST").only(runs::LIVE), values::tunnel;
        /// Only these server ports; default: every port
        port: Vec<PortRange> = words("PORT[-PORT]").short('p'), value::ports;
        /// Only what clients in these networks asked for: client.ip, the real client behind
        /// --trusted-proxies
        client: Vec<(bool, IpNet)> = list("CIDR").reloads(), negatable(value::network);
        /// Only connections from these networks: source.ip, which may be a proxy's
        peer: Vec<(bool, IpNet)> = list("CIDR").reloads(), negatable(value::network);
        /// Only servers in these networks
        server: Vec<(bool, IpNet)> = list("CIDR").reloads(), negatable(value::network);
        /// Believe these proxies (networks) when they name the client in X-Forwarded-For, Forwarded
        /// or X-Real-IP, or by PROXY protocol; loopback is always believed, unless `none` is given
        trusted_proxies: Vec<Option<IpNet>> = words("CIDR").reloads(), values::proxy;
        /// Do not name the processes, services, containers and pods at both ends of connections
        no_attribution: bool = switch().only(runs::LIVE), boolean;
        /// Name pods as the API server of Kubernetes has them: auto (in a pod with a service account), off, or
        /// a kubeconfig file
        kubernetes: ApiServer = one("auto|off|FILE").default("auto").only(runs::LIVE), ApiServer::parse;
        /// Name containers of pods, where no file does, by the CRI socket of their runtime: auto (where runtimes
        /// have theirs), off, or its path
        cri_socket: CriSocket = one("auto|off|PATH").default("auto").only(runs::LIVE), CriSocket::parse;
        /// Tell how processes were started too (process.command_line), redacted
        command_line: bool = switch().only(runs::LIVE), boolean;
        /// With -r: run the kernel's filter in front of the judge, as live tracing does
        kernel_filter: bool = switch().only(runs::CAPTURES), boolean;
        /// With -r: skip packets whose IP or TCP checksum is wrong
        verify_checksums: bool = switch().only(runs::CAPTURES), boolean;
        /// Stop after this time, e.g. 30s (with -r: of capture time)
        duration: Option<Duration> = one("TIME").only(runs::LIVE | runs::CAPTURES), value::some_time;
    }
    "What is written" {
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
        /// Write only messages with such a header, in the request or the response
        header: Choice<HeaderPattern> = whole("NAME=GLOB").reloads(), negatable(filters::header_pattern);
        /// Write only what these processes ask or answer: names, or numbers
        process: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only what processes in these containers ask or answer: names, or ids (3f5a* for its beginning)
        container: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only what these pods ask or answer: names, or UIDs
        pod: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only what pods of these namespaces of Kubernetes ask or answer
        namespace: Choice<Pattern> = list("GLOB").reloads(), negatable(|t| Pattern::parse(t, false));
        /// Write only events that counted for these rules, and their alerts
        rule: Choice<String> = list("ID").reloads(), negatable(text);
        /// Write only responses that took at least this long to their first byte
        /// (http_trace.ttfb_ns), e.g. 100ms
        min_latency: Choice<u64> = one("TIME").reloads(), negatable(filters::nanoseconds);
        /// Write only this share of responses, e.g. 2xx=1%,3xx=10%: the first that has the status counts;
        /// the same of a capture each time; rules see them all
        sample: Vec<Sample> = list("STATUS=N%").reloads(), Sample::parse;
        /// Stop after N response events were written
        count: Option<u64> = one("N").short('c'), value::positive;
    }
    "Detection" {
        /// Add the Sigma rules of this file, or of all .yml and .yaml files of this folder
        rules: Vec<PathBuf> = whole("PATH").reloads(), path;
        /// Leave rules out, by id or a glob of ids: 'http-posture-*'
        disable_rule: Vec<Pattern> = list("ID").reloads(), |t| Pattern::parse(t, false);
        /// The list of endpoints that are known, a line each: METHOD HOST PATH (`report --as allow` writes
        /// one); others that answer with success are told
        known: Option<KnownFile> = one("FILE").reloads(), values::known_endpoints;
        /// A path that stands for others, in reports and rules: '/users/{name}'
        template: Vec<String> = whole("PATH").reloads(), values::template;
        /// Leave out the built-in rules
        no_builtin_rules: bool = switch().reloads(), boolean;
        /// End with status 3 after an alert of this level or above: info, low, medium, high, critical
        fail_on_alert: Option<Level> = one("LEVEL"), values::level;
        /// Keep counters, open alerts and hits in this file from one run to the next, and the inventory for
        /// `report` beside it (FILE.inventory.db)
        state: Option<PathBuf> = one("FILE"), path;
        /// Send alerts here as well: stdout, file:PATH[,mode=640], command:PROGRAM ARGUMENTS, a URL, syslog,
        /// syslog:udp://HOST or syslog:tcp://HOST
        alerts_to: Vec<Target> = whole("WHERE"), Target::from_str;
    }
    "Bans" {
        /// Say in alerts which clients would be put into this set of nftables; live, and with a time to ban,
        /// have `nft` do it. A table that is not there is made. The eBPF programs only observe
        ban: Option<Set> = one("nft:TABLE/SET"), Set::from_str;
        /// Ban for this time, e.g. 1h; without it --ban is a dry run
        ban_for: Option<Duration> = one("TIME").only(runs::LIVE), value::some_time;
        /// Ban clients of alerts of this level or above: info, low, medium, high, critical
        ban_level: Level = one("LEVEL").default("medium"), values::level;
        /// Never ban clients in these networks, whatever they do
        ban_allow: Vec<IpNet> = list("CIDR"), value::network;
        /// Make a table that resets the connections of banned clients; default: it drops their packets
        ban_reset: bool = switch().only(runs::LIVE), boolean;
        /// Lift the bans of this run at its end; default: they run out
        ban_lift: bool = switch().only(runs::LIVE), boolean;
        /// how many bans are in force at once at most; clients beyond it are refused
        ban_most: u64 = one("N").default("10000").no_option(), value::positive;
    }
    "How it is written" {
        /// json, pretty, tracee, tracee-v1, eve, zeek, zeek-tsv, csv, report or summary, to a file with :FILE (live, it
        /// is appended to), or otlp to an OpenTelemetry collector with :http://HOST:4318 or :grpc://HOST:4317; options
        /// follow: ,alerts=LEVEL leaves out alerts below it (none: all), ,fields=NAME,… or ,fields=compact writes these
        /// fields of events (json), ,mode=640 sets the file's permissions, ,rotate=100M,1d makes it FILE.1 at this size
        /// or age and ,keep=7 keeps so many of them, ,signals=logs,spans,metrics and ,compression=gzip are for otlp,
        /// ,every=10s for summary and metrics, ,as=html and ,unseen=30d for report, ,status=5xx ,client=internal and so
        /// on write these events only; repeatable; default: pretty on a terminal, json otherwise
        output: Vec<OutputSpec> = whole("FORMAT[:PLACE][,OPTION]").short('o'), OutputSpec::from_str;
        /// Count responses by service, status and latency, every 10 s, and write none of them: the same as
        /// -o summary; the cheapest way to run. Rules see every response all the same
        summary: bool = switch(), boolean;
        /// Which response headers are written: all, none, or names
        headers: HeaderChoice = list("all|none|NAME,…").short('H').default("all"), values::header_name;
        /// Which request headers are written: none, all, or names
        request_headers: HeaderChoice = list("NAME,…").default("none"), values::header_name;
        /// Write the first N bytes of bodies too (N up to 4096), decoded: 512:4xx,5xx; statuses as
        /// with --status
        body_snippet: Option<Snippet> =
            one("N[:STATUS]").only(runs::LIVE | runs::CAPTURES), values::snippet;
        /// When an event is written: auto (at the end, or 2 s after the head), head, end
        emit: Emit = one("WHEN").default("auto").only(runs::LIVE | runs::CAPTURES), word;
        /// Colours of 'pretty': auto, always, never
        color: Color = one("WHEN").default("auto"), word;
        /// Times of 'pretty' in UTC, as all other formats have them; default: local time
        utc: bool = switch(), boolean;
        /// Flush after every line
        line_buffered: bool = switch(), boolean;
        /// Write cookies, credentials and tokens as they were sent
        show_secrets: bool = switch().reloads(), boolean;
        /// Redact this as well: personal (fields named email, phone, ssn, card and the like, and mail
        /// addresses anywhere)
        redact: Vec<AlsoRedacted> = list("WHAT").reloads(), word::<AlsoRedacted>;
        /// Print only errors on standard error
        quiet: bool = Key::new("", Shape::One, Form::Flag).short('q').default("false"), boolean;
        /// 'pretty' shows headers (-v), flags and interfaces (-vv); the summary shows every counter
        /// (-v), and the eBPF programs log what they are and which errors they meet (-vv)
        verbose: u8 = Key::new("", Shape::One, Form::Count).short('v').default("0"), values::verbosity;
    }
    "Privileges" {
        /// Read which file a process of another user runs (process.executable); keeps CAP_SYS_PTRACE
        executables: bool = switch().only(runs::LIVE), boolean;
        /// Become this user once the programs are attached: outputs, state and alert commands are its own
        user: Option<String> = one("NAME").only(runs::LIVE), text;
    }
    "Health" {
        /// Answer /metrics (Prometheus), /healthz and /readyz at this address, e.g. 127.0.0.1:9464
        listen: Option<SocketAddr> = one("ADDRESS:PORT").only(runs::LIVE), values::endpoint;
    }
    "Configuration" {
        /// Load settings and rules again when their files change, as on SIGHUP; for files that are mounted, as those of
        /// a ConfigMap
        watch_config: bool = switch().only(runs::LIVE), boolean;
    }
    "Without an option" {
        /// names of header fields whose values are redacted too, in any case and with any separators;
        /// parameters and members of these names as well
        redact_headers: Vec<String> = list("NAME").reloads().no_option(), value::field_name;
        /// names of parameters, of form fields and of members of JSON and XML whose values are
        /// redacted too
        redact_parameters: Vec<String> = list("NAME").reloads().no_option(), values::lower_case;
        /// queue of each output for a slow reader; live, events beyond it are dropped and reported
        /// (`output_queue`), a capture waits for its reader
        output_queue: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// ring buffer between kernel and agent, rounded up to a power of two of at least 64 KiB;
        /// records beyond it are lost and reported (`ring_full`)
        ring_size: usize = one("SIZE").default("16MiB").no_option(), value::bytes;
        /// connections followed at once, in the kernel and in the agent; beyond it closed, silent and idle
        /// ones are evicted, first of the clients with the most, and those of the agent that were open are
        /// reported (`table_full`)
        max_flows: u64 = one("N").default("65536").no_option(), value::positive;
        /// memory for messages in flight, of all connections; beyond it connections are evicted, first of
        /// the clients with the most, and reported (`heads_in_flight`)
        heads_memory: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// memory for segments that wait for earlier ones, of all connections; beyond it the oldest
        /// gaps are given up and reported (`reorder_memory`)
        reorder_memory: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// memory for the counters of rules, roughly; beyond it counters used longest ago give way to
        /// newcomers that are seen often
        detect_memory: usize = one("SIZE").default("64MiB").no_option(), value::bytes;
        /// how long a request waits for its response before it is written without one
        /// (`no_response: timeout`)
        response_timeout: Duration = one("TIME").default("30s").no_option(), value::some_time;
        /// how often the file of `--state` is written, if anything changed
        state_interval: Duration = one("TIME").default("60s").no_option(), value::some_time;
        /// the largest that file may become, at least 64 KiB
        state_size: usize = one("SIZE").default("64MiB").no_option(), values::state_size;
        /// how long the inventory of `--state` keeps what came on a day
        inventory_keep: Duration = one("TIME").default("90d").no_option(), value::some_time;
        /// the largest that database may become, at least 64 KiB; the oldest rows go first
        inventory_size: usize = one("SIZE").default("256MiB").no_option(), values::state_size;
        /// `true`: `/metrics` counts responses by service and URL template too
        /// (`http_trace_endpoint_responses_total`), 512 endpoints at most, then `_OTHER`
        metric_templates: bool = one("BOOL").default("false").no_option(), boolean;
        /// `clsact` attaches the programs of `--hook tc` to a clsact qdisc on any kernel, see below
        tc: TcChoice = one("MODE").default("auto").no_option(), word;
        /// `host` leaves all framing to the agent, as on kernels that cannot do it
        framing: FramingChoice = one("MODE").default("auto").no_option(), word;
        /// name of the Kubernetes node that this is; without it this host's name
        node_name: Option<String> = one("NAME").no_option(), values::kubernetes_name;
        /// labels of pods that events tell
        pod_labels: Vec<String> = list("NAME")
            .default("app.kubernetes.io/name,app.kubernetes.io/version,app.kubernetes.io/component,app")
            .no_option(), values::kubernetes_name;
        /// addresses with ports (`127.0.0.1:4318`) that are never traced, as the agent's own sockets:
        /// of a forwarder beside it
        own_endpoints: Vec<SocketAddr> = list("ADDRESS:PORT").no_option(), values::endpoint;
    }
    beside {
        /// Live, captures or recorded events.
        source: Source,
        /// Whether alerts are written and responses are not (`rules test`, `detect`).
        alerts_only: bool,
        /// Whether the run tries rules, and means nothing without them (`rules test`).
        tries_rules: bool,
        /// Changes to rules: the file's table `[detect]`.
        tuning: Tuning,
        /// The file that was read, if any.
        file: Option<PathBuf>,
        /// Where each was given.
        layers: Layers,
        /// Options that limit what is traced, as they were given.
        limits: Vec<String>,
        /// Options that leave events out of what is written, as they were given.
        filters: Vec<String>,
        /// `--sample`, as it was given.
        sampled: Vec<String>,
        /// Faults in how it was given that are no errors.
        warnings: Vec<String>,
    }
}
