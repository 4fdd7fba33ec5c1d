//! Network namespaces for tests, and links between them.
//!
//! Everything is inside namespaces whose names contain this process's id, and is deleted with them: nothing
//! else on the machine is changed. Code and programs run in a namespace from a thread that entered it. Unlike
//! with `ip netns exec`, mounts stay those of the host, so /sys/fs/cgroup is available.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace with lo up. Deleted on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates a namespace whose name begins with `http-trace-` and ends with `label`.
    pub fn new(label: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("http-trace-{}-{number}-{label}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Namespace { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Its name under /run/netns.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with blank-separated arguments on this namespace.
    pub fn ip(&self, arguments: &str) -> Result<Output> {
        run(Command::new("ip").args(["-n", &self.name]).args(arguments.split_whitespace()))
    }

    /// Joins it to another namespace by a veth pair with these names and this MTU; both ends are down and
    /// have no address.
    pub fn link(&self, name: &str, other: &Namespace, name_there: &str, mtu: u32) -> Result<()> {
        let (there, mtu) = (other.name(), mtu.to_string());
        let mut command = Command::new("ip");
        command.args(["link", "add", "name", name, "mtu", &mtu, "netns", &self.name]);
        command.args(["type", "veth", "peer", "name", name_there, "mtu", &mtu]);
        run(command.args(["netns", there]))?;
        Ok(())
    }

    /// The link-layer address of a device, from `ip` (/sys may belong to another namespace).
    fn link_address(&self, device: &str) -> Result<String> {
        let shown = self.ip(&format!("-o link show {device}"))?;
        let shown = String::from_utf8(shown.stdout)?;
        let mut words = shown.split_whitespace();
        words.by_ref().find(|word| *word == "link/ether");
        let address = words.next().context("a hardware address")?;
        Ok(address.to_owned())
    }

    /// Runs a command in this namespace to its end; an error if it fails.
    pub fn run(&self, command: &mut Command) -> Result<Output> {
        self.enter(|| run(command))?
    }

    /// Starts a command in this namespace; it is ended on drop.
    pub fn spawn(&self, command: &mut Command) -> Result<Running> {
        self.enter(|| Running::start(command))?
    }

    /// As [`Namespace::spawn`], for a server: waits up to ten seconds until something accepts connections at
    /// `address`, as seen from inside this namespace.
    pub fn serve(&self, command: &mut Command, address: SocketAddr) -> Result<Running> {
        let mut server = self.spawn(command)?;
        let end = Instant::now() + Duration::from_secs(10);
        let listens = self.enter(|| {
            while matches!(server.try_wait(), Ok(None)) && Instant::now() < end {
                if TcpStream::connect(address).is_ok() {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            false
        })?;
        ensure!(listens, "{command:?} does not listen at {address}");
        Ok(server)
    }

    /// Runs `work` on a new thread inside this namespace and waits for it. Threads that `work` starts, and
    /// sockets that it opens, belong to this namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = File::open(format!("{NAMED}/{}", self.name))
            .with_context(|| format!("open namespace {}", self.name))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .context("enter a namespace")
                    .map(|()| work())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Turns offloads of one of its interfaces on or off (`ethtool -K`): segmentation in the
    /// device (TSO), in the stack (GSO), merging on receive (GRO) and scatter-gather.
    pub fn offloads(&self, interface: &str, on: bool) -> Result<()> {
        let state = if on { "on" } else { "off" };
        let mut command = Command::new("ethtool");
        command.args(["-K", interface]);
        for feature in ["sg", "tso", "gso", "gro"] {
            command.args([feature, state]);
        }
        self.run(&mut command).map(drop)
    }
}

/// Folder of named namespaces of `ip netns`.
const NAMED: &str = "/run/netns";

/// Removes leftovers of killed tests: namespaces named after a process that has exited, and programs in them.
pub fn sweep() {
    let entries = std::fs::read_dir(NAMED).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| maker(name).is_some_and(|pid| !is_running(pid))) {
        let inside = Command::new("ip").args(["netns", "pids", &name]).output();
        let inside = inside.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&inside).split_whitespace() {
            if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = Command::new("ip").args(["netns", "del", &name]).output();
    }
}

/// The id of the process that created this namespace, if it was a test.
fn maker(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix("http-trace-")?.split_once('-')?;
    let (number, _label) = rest.split_once('-')?;
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn is_running(pid: u32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Runs a command to its end and returns its output; an error quotes the output.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}: {}", output.status, printed.trim());
    }
    Ok(output)
}

/// Two namespaces joined by a veth pair: `veth0` in each, 10.77.0.1/24 and fd77::1/64 on the
/// client's end, 10.77.0.2/24 and fd77::2/64 on the server's.
#[derive(Debug)]
pub struct Pair {
    /// Where clients run.
    pub client: Namespace,
    /// Where servers run.
    pub server: Namespace,
}

/// Addresses of a [`Pair`]'s ends.
pub mod address {
    /// The client's IPv4 address.
    pub const CLIENT_V4: &str = "10.77.0.1";
    /// The server's IPv4 address.
    pub const SERVER_V4: &str = "10.77.0.2";
    /// The client's IPv6 address.
    pub const CLIENT_V6: &str = "fd77::1";
    /// The server's IPv6 address.
    pub const SERVER_V6: &str = "fd77::2";
}

impl Pair {
    /// Creates both namespaces and the link, with this MTU.
    pub fn new(mtu: u32) -> Result<Self> {
        let pair = Pair { client: Namespace::new("client")?, server: Namespace::new("server")? };
        pair.client.link("veth0", &pair.server, "veth0", mtu)?;
        pair.address(&pair.client, "veth0", address::CLIENT_V4, address::CLIENT_V6)?;
        pair.address(&pair.server, "veth0", address::SERVER_V4, address::SERVER_V6)?;
        Ok(pair)
    }

    /// Creates both namespaces, joined by two tun devices (`tun0` in each), whose packets begin with the IP
    /// header, with the addresses of [`Pair::new`].
    pub fn tun() -> Result<(Self, Running)> {
        let pair = Pair { client: Namespace::new("client")?, server: Namespace::new("server")? };
        // Python, since opening a tun device is unsafe code in Rust.
        let mut command = Command::new(crate::need::program("python3").context("python3")?);
        command.args(["-c", include_str!("tun_pipe.py"), pair.server.name()]);
        let mut pipe = pair.client.spawn(command.stdout(Stdio::piped()))?;
        pipe.first_line()?;
        pair.address(&pair.client, "tun0", address::CLIENT_V4, address::CLIENT_V6)?;
        pair.address(&pair.server, "tun0", address::SERVER_V4, address::SERVER_V6)?;
        Ok((pair, pipe))
    }

    /// Sets the peer's link address at both ends of this device, so that neither needs ARP or ND.
    pub fn know_link_addresses(&self, device: &str) -> Result<()> {
        for (here, there, far) in [
            (&self.client, &self.server, address::SERVER_V4),
            (&self.server, &self.client, address::CLIENT_V4),
        ] {
            let link = there.link_address(device)?;
            here.ip(&format!("neigh replace {far} lladdr {link} dev {device}"))?;
        }
        Ok(())
    }

    fn address(&self, namespace: &Namespace, device: &str, v4: &str, v6: &str) -> Result<()> {
        namespace.ip(&format!("address add {v4}/24 dev {device}"))?;
        // nodad: the address is usable at once, without duplicate detection.
        namespace.ip(&format!("address add {v6}/64 dev {device} nodad"))?;
        namespace.ip(&format!("link set {device} up"))?;
        Ok(())
    }
}

/// A program that the test started. Ended on drop.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it in the calling thread's namespace.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::null()).spawn().with_context(|| format!("{command:?}"))?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Running { child, stdout })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on its stdout, which must be a pipe.
    pub fn first_line(&mut self) -> Result<String> {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().context("stdout is no pipe")?;
        if stdout.read_line(&mut line)? == 0 {
            bail!("ended before it printed a line: {:?}", self.child.wait()?);
        }
        Ok(line)
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("signal")
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> Result<std::process::ExitStatus> {
        self.child.wait().context("wait")
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.child.try_wait().context("wait")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // TERM first: then it ends what it has started itself, as nginx does with its workers.
        let _ = self.signal(Signal::TERM);
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
