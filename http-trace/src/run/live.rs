//! A live run: passes the probe's records to the driver and drives its timers. Event time is kernel time;
//! while no packets arrive, the host clock advances it.

use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use http_trace_common::config::FilterConfig;
use http_trace_common::counter::Counter;
use http_trace_common::record::Hook;
use http_trace_model::event::Loss;

use super::confine::confine;
use super::exit::{Ended, Reading, cannot_start, no_thread, say};
use super::listen::Listener;
use super::service::Service;
use super::session::{Ready, Session, some_of, started};
use super::stop::Stop;
use crate::config::{Config, FramingChoice};
use crate::driver::Driver;
use crate::enrich::cri::Cri;
use crate::enrich::directory::Directory;
use crate::enrich::kubernetes::{
    access::CredentialSource,
    watch::{Times, Watch},
};
use crate::enrich::names_no_pod;
use crate::enrich::proc_fs::{CommandLines, Proc};
use crate::enrich::process::Attribution;
use crate::enrich::runtimes::Runtimes;
use crate::enrich::source::Source;
use crate::messages::damaged;
use crate::metrics::Family;
use crate::own_sockets::{Excluded, OwnSockets};
use crate::priority;
use crate::privileges::{self, CapabilitySet};
use crate::probe::interfaces::{LinkLayer, Wanted};
use crate::probe::loader::{Framing, Settings};
use crate::probe::log::Say;
use crate::probe::{Notice, Options, Probe, trim_heap};
use crate::select::Selection;
use crate::sink::outlet::Next;
use crate::sink::writer::WhenFull;

/// How often the hooks are checked, and what else needs no attention at once.
const UPKEEP_EVERY: Duration = Duration::from_millis(250);
/// How often the programs' counters are read, so that a loss is reported within a second. Each read is a
/// system call, and an idle agent should cost almost nothing.
const COUNTERS_EVERY: Duration = Duration::from_millis(750);

/// Printed when the programs do not frame.
const HOST_FRAMING: &str = "the agent does all framing (-v shows why): whole connections are \
                            copied, bodies included, up to 32 MiB/s per CPU; the excess is dropped \
                            and reported";

/// Printed with filters by pod where none is named.
const NO_POD: &str = "nothing here names pods (no Kubernetes API server, CRI socket or container \
                      runtime): filters by pod or namespace leave everything out";

/// How long to see no readable traffic before reporting what is seen instead.
const NOTHING_READABLE: Duration = Duration::from_secs(5);

/// Interfaces named in the start line; further ones are only counted.
const NAMED_INTERFACES: usize = 8;

/// Traces until `stop`, `--duration`, or an output limit.
pub fn run(config: &Config, stop: &Stop) -> Result<Ended, Ended> {
    let own = OwnSockets::default();
    // Excluded as long as this value lives: until the end of the run.
    let excluded = config.own_endpoints.iter().map(|at| own.exclude(*at));
    let _excluded: Vec<Excluded> = excluded.collect::<Result<_, _>>().map_err(cannot_start)?;
    let mut live = Live::start(config, stop, &own)?;
    live.trace(stop);
    Ok(live.finish())
}

/// A run that traces.
struct Live<'a> {
    config: &'a Config,
    probe: Probe,
    session: Session,
    listener: Option<Listener>,
    service: Service,
    /// When to say that nothing is readable; `None` once that was checked, and with `--quiet`.
    patient_until: Option<Instant>,
    next_upkeep: Instant,
    next_counters: Instant,
    /// Whether interfaces may have changed; at first, those that are down are new.
    has_changed: bool,
}

impl<'a> Live<'a> {
    /// Attaches the programs, drops privileges, and then opens everything else.
    fn start(config: &'a Config, stop: &Stop, own: &OwnSockets) -> Result<Self, Ended> {
        // The kernel verifies the programs while the rules are compiled: both take a tenth of a second and more.
        let (ready, loaded) = thread::scope(|scope| {
            let ready = thread::Builder::new().spawn_scoped(scope, || Ready::new(config));
            let loaded = options(config, own.clone()).and_then(Probe::start);
            (ready.map(ScopedJoinHandle::join), loaded)
        });
        let ready = ready.map_err(|error| cannot_start(no_thread(error)))?;
        let ready = ready.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let (mut probe, notices) = loaded.map_err(cannot_start)?;
        let traces_since_ns = probe.clock.now_ns();
        let traced = probe.traced_interfaces();
        if traced.is_empty() {
            say(&no_interface(config));
            if !may_appear(config) {
                return Err(Ended::CannotStart);
            }
        }
        if !priority::raise() && !config.quiet {
            say(&privileges::lost(CapabilitySet::SYS_NICE));
        }
        // Needs CAP_SYS_ADMIN to name other programs, which is dropped below.
        let hidden_before = probe.check_hooks(false);
        let has_neighbours = !hidden_before.is_empty()
            || notices.iter().any(|notice| matches!(notice, Notice::Before(..)));
        if has_neighbours && !privileges::held().contains(CapabilitySet::SYS_ADMIN) {
            say(&privileges::lost(CapabilitySet::SYS_ADMIN));
        }
        let attribution = reduce(config, &mut probe)?;
        // Everything else is opened, and every thread started, with reduced privileges. The port comes first: a start
        // that fails for it should create no file.
        let listen = |at| {
            let listener = Listener::open(at, own);
            listener.map_err(|why| cannot_start(format!("cannot listen at {at}: {why}")))
        };
        let listener = config.listen.map(listen).transpose()?;
        let mut session = Session::open(config, stop, ready, WhenFull::Drop, own)?;
        if let Some((attribution, directory)) = attribution {
            if config.any_selection(Selection::wants_pods)
                && names_no_pod(&config.kubernetes, &config.cri_socket)
            {
                say(NO_POD);
            }
            follow_pods(config, &directory, own);
            session.driver.stages.attribution = Some(attribution);
        }
        say_started(config, &probe, &traced, &notices);
        if let (Some(listener), Some(0), false) =
            (&listener, config.listen.map(|at| at.port()), config.quiet)
        {
            say(&format!("listening at {}", listener.at));
        }
        for (index, name) in probe.interface_names() {
            session.driver.pipeline.set_interface(index, name);
        }
        add_hidden(hidden_before, &mut session.driver);
        session.add_gap(traces_since_ns);
        trim_heap();
        let now = Instant::now();
        let service = Service::ready(now);
        listener.iter().for_each(Listener::ready);
        Ok(Live {
            config,
            probe,
            session,
            listener,
            service,
            patient_until: (!config.quiet).then(|| now + NOTHING_READABLE),
            next_upkeep: now + UPKEEP_EVERY,
            next_counters: now + COUNTERS_EVERY,
            has_changed: true,
        })
    }

    fn trace(&mut self, stop: &Stop) {
        let deadline = self.config.duration.map(|duration| Instant::now() + duration);
        while !stop.is_requested() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            if work(&mut self.probe, &mut self.session.driver) == Next::Stop {
                break;
            }
            self.session.upkeep();
            let now = Instant::now();
            if now >= self.next_upkeep {
                self.next_upkeep = now + UPKEEP_EVERY;
                self.upkeep(now);
            }
            if std::mem::take(&mut self.has_changed) {
                follow_interfaces(self.config, &mut self.probe, &mut self.session.driver);
            }
            if !self.probe.ring.has_more {
                self.has_changed = self.probe.sleep();
            }
        }
        self.service.stopping();
    }

    /// What needs no attention at once.
    fn upkeep(&mut self, now: Instant) {
        let (probe, driver) = (&mut self.probe, &mut self.session.driver);
        self.service.alive(now);
        if now >= self.next_counters {
            self.next_counters = now + COUNTERS_EVERY;
            add_losses(probe, driver);
        }
        if let Some(listener) = &self.listener {
            listener.answer(|| driver.metrics(&families(probe)));
        }
        driver.stages.exit.outlet.look_for_readers();
        probe.sweep();
        probe.own.sweep(now);
        if let Some(line) = driver.reminder(now) {
            say(&line);
        }
        if self.patient_until.is_some_and(|until| now >= until) {
            self.patient_until = None;
            nothing_readable(probe, driver, NOTHING_READABLE).iter().for_each(|line| say(line));
        }
        probe.hand_on_log();
        self.has_changed = true;
        if !self.config.no_hotplug {
            add_hidden(probe.check_hooks(false), driver);
        }
    }

    /// Detaches. Records still in the ring count, and so do losses up to now.
    fn finish(mut self) -> Ended {
        let (probe, driver) = (&mut self.probe, &mut self.session.driver);
        if !self.config.no_hotplug {
            add_hidden(probe.check_hooks(true), driver);
        }
        add_losses(probe, driver);
        probe.detach();
        probe.hand_on_log();
        while work(probe, driver) == Next::Go && probe.ring.has_more {}
        let lines = probe_lines(probe, self.config.verbose > 0);
        drop(self.probe);
        self.session.finish(lines, Reading::Whole)
    }
}

/// Drops the privileges that are not needed any more, and starts naming processes between two steps of that.
fn reduce(
    config: &Config,
    probe: &mut Probe,
) -> Result<Option<(Attribution, Arc<Directory>)>, Ended> {
    let mut needs = probe.needs(!config.no_hotplug);
    if config.executables {
        let ptrace = CapabilitySet::SYS_PTRACE;
        needs |= ptrace;
        if !privileges::held().contains(ptrace) {
            say(&privileges::lost(ptrace));
        }
    }
    if config.ban_for.is_some() {
        // `nft` inherits it from the agent.
        needs |= CapabilitySet::NET_ADMIN;
    }
    let names = names_containers(config, probe);
    confine(config, needs | names).map_err(cannot_start)?;
    let attribution = attribute(config, probe);
    privileges::give_up(names)
        .map_err(|error| cannot_start(format!("cannot drop capabilities: {error}")))?;
    Ok(attribution)
}

fn say_started(config: &Config, probe: &Probe, traced: &[Arc<str>], notices: &[Notice]) {
    started(config, &start_line(&config.hook, traced));
    if !traced.is_empty() {
        for name in unmatched(config, traced) {
            say(&format!(
                "no interface that is up matches {name}; one that appears later will be traced"
            ));
        }
    }
    if config.verbose > 0 && !config.quiet {
        say(&format!("this kernel: {}", probe.modes()));
    }
    if probe.framing == Framing::Host && !config.quiet {
        say(HOST_FRAMING);
    }
    say_notices(config, notices, false);
}

/// Capabilities kept only by the thread that names containers, where the agent is not root: the files of
/// container runtimes belong to root.
fn names_containers(config: &Config, probe: &Probe) -> CapabilitySet {
    let is_root = config.user.is_none() && rustix::process::geteuid().is_root();
    if is_root || !matches!(probe.senders, Some(Ok(_))) {
        return CapabilitySet::empty();
    }
    let reading = CapabilitySet::DAC_READ_SEARCH;
    if !privileges::held().contains(reading)
        && let Some(place) = Runtimes::of_this_host().unreadable()
    {
        say(&format!("{}: {}", place.display(), privileges::lost(reading)));
    }
    reading
}

/// Starts naming processes and their containers, where the kernel reports senders.
fn attribute(config: &Config, probe: &mut Probe) -> Option<(Attribution, Arc<Directory>)> {
    let senders = match probe.senders.take()? {
        Ok(senders) => senders,
        Err(why) => {
            if !config.quiet {
                say(&why.to_string());
            }
            return None;
        }
    };
    let directory = Arc::new(Directory::default());
    let secrets = config.secrets();
    let text = move |words: &[&[u8]]| match &secrets {
        Some(secrets) => secrets.command_line(words),
        None => shell_words::join(words.iter().map(|word| String::from_utf8_lossy(word))),
    };
    let command_lines = config.command_line.then(|| CommandLines(Box::new(text)));
    let started = Cri::start(config.cri_socket.clone(), directory.clone(), say)
        .map(|cri| Proc::of_this_host(cri, command_lines))
        .and_then(|mut proc| Source::start(move |sender| proc.look(sender)));
    match started {
        Ok(source) => {
            let attribution = Attribution::new(Box::new(senders), source, directory.clone());
            Some((attribution, directory))
        }
        Err(why) => {
            say(&format!("processes are not named: cannot start a thread: {why}"));
            None
        }
    }
}

/// Starts naming pods, if an API server is configured.
fn follow_pods(config: &Config, directory: &Arc<Directory>, own: &OwnSockets) {
    let Some(place) = CredentialSource::find(&config.kubernetes) else { return };
    let hostname = || gethostname::gethostname().to_string_lossy().to_lowercase();
    let watch = Watch {
        place,
        node: config.node_name.clone().unwrap_or_else(hostname),
        labels: config.pod_labels.clone(),
        times: Times::default(),
    };
    if let Err(why) = watch.start(directory.clone(), own.clone(), say) {
        say(&format!("pods are not named: cannot start a thread: {why}"));
    }
}

/// Drains the ring buffer; once it is empty, event time advances to when the drain started.
pub(super) fn work(probe: &mut Probe, driver: &mut Driver) -> Next {
    let now_ns = probe.clock.now_ns();
    let mut next = Next::Go;
    let frames = probe.framing == Framing::Kernel;
    probe.drain(|record, filter| {
        if next == Next::Go {
            next = driver.push(&record);
        }
        for (key, handed) in driver.pipeline.take_hand_backs() {
            if frames {
                filter.offer(&key, &handed);
            }
        }
    });
    if next == Next::Go && !probe.ring.has_more {
        next = driver.tick(now_ns);
    }
    next
}

/// Counters of the programs and resource usage of the process, for `/metrics`.
fn families(probe: &Probe) -> Vec<Family> {
    let counters = Counter::ALL.iter();
    let mut families = vec![Family::each(
        "http_trace_kernel_total",
        "Counters of the eBPF programs, by name.",
        "counter",
        counters.map(|counter| (counter.name(), probe.counters.get(*counter))),
    )];
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    families.push(Family::plain(
        "process_cpu_seconds_total",
        "CPU time of the agent.",
        used.tv_sec as f64 + used.tv_nsec as f64 / 1e9,
    ));
    // The second field is the number of resident pages (proc(5)).
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    if let Some(pages) = pages {
        families.push(Family::plain(
            "process_resident_memory_bytes",
            "Resident memory of the agent.",
            pages * rustix::param::page_size() as f64,
        ));
    }
    families.push(Family::each(
        "http_trace_build_info",
        "Always 1, with the version of the agent.",
        "version",
        [(env!("CARGO_PKG_VERSION"), 1)],
    ));
    families
}

pub(super) fn nothing_readable(probe: &Probe, driver: &Driver, time: Duration) -> Option<String> {
    let packets = [Counter::Packets, Counter::Excluded].map(|c| probe.counters.get(c));
    let place = match &*probe.traced_interfaces() {
        [] => "at this hook".to_owned(),
        some => format!("on {}", named(some)),
    };
    driver.nothing_readable(time.as_secs(), packets, &place)
}

fn named(interfaces: &[Arc<str>]) -> String {
    let names = interfaces.iter().map(|name| name.to_string());
    some_of(names, NAMED_INTERFACES)
}

fn follow_interfaces(config: &Config, probe: &mut Probe, driver: &mut Driver) {
    match probe.update_interfaces(!config.no_hotplug) {
        Ok(None) => return,
        Ok(Some(notices)) => {
            say_notices(config, &notices, true);
            let is_end = notices.iter().any(|notice| matches!(notice, Notice::Detached(..)));
            if is_end && probe.traced_interfaces().is_empty() {
                let restart = if config.no_hotplug { "; restart to trace it again" } else { "" };
                say(&format!("nothing is traced now: {}{restart}", no_interface(config)));
            }
        }
        Err(error) => say(&format!("cannot watch for new interfaces: {error}")),
    }
    for (index, name) in probe.interface_names() {
        driver.pipeline.set_interface(index, name);
    }
}

/// Reports packets that other programs hide or have hidden.
fn add_hidden(losses: Vec<Loss>, driver: &mut Driver) {
    for loss in losses {
        if let Some(detail) = &loss.detail {
            say(&format!("packets may be missing: {detail}"));
        }
        driver.pipeline.add_loss(&loss);
    }
}

fn add_losses(probe: &mut Probe, driver: &mut Driver) {
    let now_ns = probe.clock.now_ns();
    for loss in probe.counters.losses(now_ns) {
        driver.pipeline.add_loss(&loss);
    }
}

pub(super) fn options(config: &Config, own: OwnSockets) -> Result<Options, String> {
    let wanted = Wanted::new(&config.interface, &config.exclude_interface)
        .map_err(|error| error.to_string())?;
    let mut filter = FilterConfig {
        count_skbs: u32::from(config.verbose > 0),
        decap: config.decap_bits(),
        snippet: config.snippet(),
        ..FilterConfig::DEFAULT
    };
    for (to, from) in filter.ports.iter_mut().zip(&config.port) {
        *to = *from;
        filter.port_ranges += 1;
    }
    let settings = Settings {
        filter,
        flows: u32::try_from(config.max_flows).unwrap_or(u32::MAX),
        ring_bytes: u32::try_from(config.ring_size).unwrap_or(u32::MAX),
        senders: config.names_processes(),
        ..Settings::default()
    };
    Ok(Options {
        hooks: config.hook.clone(),
        interfaces: wanted,
        tc_mode: config.tc,
        host_framing: config.framing == FramingChoice::Host,
        settings,
        own,
        say: (config.verbose > 1).then_some(say as Say),
    })
}

/// Whether a pattern of interfaces was given: one that matches may come later.
pub(super) fn may_appear(config: &Config) -> bool {
    config.interface.iter().any(|glob| glob.contains(['*', '?', '[']))
}

pub(super) fn no_interface(config: &Config) -> String {
    let what = match config.interface.as_slice() {
        [] => "no interface is up".to_owned(),
        globs => format!("no interface that is up matches {}", globs.join(", ")),
    };
    let but = match config.exclude_interface.as_slice() {
        [] => String::new(),
        globs => format!(", except those excluded by --exclude-interface {}", globs.join(",")),
    };
    format!("{what}{but}: `ip link` lists them")
}

/// Requested interface patterns that match no traced interface.
fn unmatched<'a>(config: &'a Config, traced: &[Arc<str>]) -> Vec<&'a str> {
    let matches = |glob: &&String| {
        Wanted::new(std::slice::from_ref(*glob), &[])
            .is_ok_and(|wanted| traced.iter().any(|name| wanted.contains(name)))
    };
    config.interface.iter().filter(|glob| !matches(glob)).map(String::as_str).collect()
}

/// Formats `tracing at tc on lo, eth0`.
fn start_line(hooks: &[Hook], interfaces: &[Arc<str>]) -> String {
    let hooks: Vec<&str> = hooks.iter().map(|hook| hook.name()).collect();
    let on = match interfaces {
        [] => "no interface yet".to_owned(),
        some => named(some),
    };
    format!("tracing at {} on {on}", hooks.join(", "))
}

fn say_notices(config: &Config, notices: &[Notice], later: bool) {
    for notice in notices {
        match notice {
            Notice::Attached(name) if later && !config.quiet => say(&format!("tracing {name} too")),
            Notice::Detached(name, now) if !config.quiet => {
                let now = now.as_ref().map(|now| format!(": it is named {now} now"));
                say(&format!("stopped tracing {name}{}", now.unwrap_or_default()));
            }
            Notice::Attached(_) | Notice::Detached(..) => {}
            Notice::Before(name, who) => say(&format!(
                "xdp of {name}: {who} runs before http-trace: packets that it drops or redirects \
                 are not seen"
            )),
            Notice::Failed(error) => {
                say(&format!("{error}; the other interfaces are still traced"))
            }
            Notice::Unreadable(name, LinkLayer::Other(kind)) => {
                say(&format!("{name} is not traced: unsupported link-layer header (ARPHRD {kind})"))
            }
            Notice::Unreadable(name, _) => say(&format!("{name} is not traced")),
        }
    }
}

/// What the programs saw, for the summary: possible losses, and with `all` every counter.
fn probe_lines(probe: &Probe, all: bool) -> Vec<String> {
    let hidden = probe.hidden.iter().map(|(what, ns)| {
        let seconds = Duration::from_nanos(*ns).as_secs_f64();
        format!("packets may be missing for {seconds:.1} s: {what}")
    });
    let mut lines: Vec<String> = hidden.collect();
    lines.extend(damaged(
        probe.counters.get(Counter::BadChecksum) + probe.counters.get(Counter::WithoutAck),
    ));
    if all {
        let on_host =
            [("table_evicted", probe.flows.evicted), ("malformed_records", probe.ring.malformed)];
        let counters = Counter::ALL.iter();
        let named: Vec<String> = counters
            .map(|&counter| (counter.name(), probe.counters.get(counter)))
            .chain(on_host)
            .filter(|(_, n)| *n > 0)
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        if !named.is_empty() {
            lines.push(format!("counted in the kernel: {}", named.join(", ")));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;
    use crate::config::layers::Layers;

    #[test]
    fn where_nothing_is_traced_that_is_said_in_words() {
        assert_eq!(start_line(&[Hook::Tc], &[]), "tracing at tc on no interface yet");
        let lo = ["lo".into()];
        assert_eq!(start_line(&[Hook::Tc], &lo), "tracing at tc on lo");
        for (typed, expected) in [
            (vec![], "no interface is up: "),
            (
                vec![("exclude-interface", "*")],
                "no interface is up, except those excluded by --exclude-interface *: ",
            ),
            (
                vec![("interface", "lo"), ("exclude-interface", "l*")],
                "no interface that is up matches lo, except those excluded by --exclude-interface \
                 l*: ",
            ),
        ] {
            let typed = typed.into_iter().map(|(k, v)| (k, vec![v.to_owned()]));
            let layers = Layers::gather(KEYS, typed.collect(), &|_| None, None).expect("good");
            let config = Config::from_layers(&layers).expect("good");
            let said = no_interface(&config);
            assert!(said.starts_with(expected), "{said}");
        }
        let names = ["lo", "veth*", "eth0"].map(str::to_owned).to_vec();
        let typed = vec![("interface", names)];
        let layers = Layers::gather(KEYS, typed, &|_| None, None).expect("good");
        let config = Config::from_layers(&layers).expect("good");
        let traced = ["eth0", "veth7"].map(Into::into);
        assert_eq!(unmatched(&config, &traced), ["lo"]);
    }
}
