//! Applies bans on a separate thread, so that a slow firewall delays nothing else, and knows what the firewall
//! has confirmed. Knows nothing about alerts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::nft::{Element, Set};
use crate::priority;
use crate::sync::lock;

/// Maximum number of queued bans, and of bans per batch.
const WAITING: usize = 4096;
const AT_ONCE: usize = 256;
/// How long queued bans are still applied at the end of a run.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How often the set is read while it has elements, besides where an order asks for it. Longer if reading it takes
/// more than a hundredth of that time.
const LOOK: Duration = Duration::from_secs(1);
const SHARE: u32 = 100;
/// Duration of a ban that does not expire.
const FOR_GOOD: Duration = Duration::from_secs(1 << 30);

/// The clients in the set, and until when they are.
pub type InForce = HashMap<IpAddr, Instant>;

#[derive(Clone, Debug)]
pub struct Order {
    pub client: IpAddr,
    pub lasts: Duration,
    /// The rule that caused it.
    pub rule: String,
    /// Whether the client was in the set: then the set is read first, since others lift bans, too.
    pub was_there: bool,
}

/// What has happened since the last call.
#[derive(Debug, Default)]
pub struct Progress {
    /// Clients that are in the set now.
    pub banned: Vec<IpAddr>,
    /// Clients that could not be banned.
    pub failed: Vec<IpAddr>,
    /// Why the last of them could not, or could not be lifted.
    pub why: Option<String>,
    /// Why the set could not be read.
    pub unread: Option<String>,
    /// What the set holds, if it has changed.
    pub in_force: Option<InForce>,
}

/// Handle of the thread.
#[derive(Debug)]
pub struct Firewall {
    orders: SyncSender<Order>,
    progress: Arc<Mutex<Progress>>,
    ended: Receiver<()>,
}

impl Firewall {
    /// Starts the thread, which looks up or creates the set. Its first progress is what the set holds.
    pub fn start(set: Set, reset: bool, lift: bool) -> Result<Self, String> {
        let (orders, waiting) = sync_channel::<Order>(WAITING);
        let (ready, is_ready) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        let progress = Arc::new(Mutex::new(Progress::default()));
        let of_thread = Arc::clone(&progress);
        let work = move || {
            #[cfg(target_os = "linux")]
            crate::privileges::hand_on();
            match set.prepare(reset) {
                Ok(there) => {
                    let mut keeper = Keeper {
                        set,
                        reset,
                        progress: of_thread,
                        in_force: HashMap::new(),
                        of_this_run: HashMap::new(),
                        read_every: LOOK,
                    };
                    keeper.hold(there);
                    if ready.send(Ok(())).is_ok() {
                        keeper.carry_out(&waiting);
                        if lift {
                            keeper.lift();
                        }
                    }
                }
                Err(why) => drop(ready.send(Err(why))),
            }
            let _ = end.send(());
        };
        priority::spawn("http-trace-ban", work)
            .map_err(|error| format!("cannot start the ban thread: {error}"))?;
        is_ready.recv().map_err(|_| "the ban thread failed")??;
        Ok(Firewall { orders, progress, ended })
    }

    /// Queues a ban without blocking; `false` if the queue is full.
    pub fn ban(&self, order: Order) -> bool {
        self.orders.try_send(order).is_ok()
    }

    /// What has happened since the last call.
    pub fn progress(&self) -> Progress {
        std::mem::take(&mut *lock(&self.progress))
    }

    /// Applies queued bans for at most 5 s.
    pub fn close(self) -> Progress {
        drop(self.orders);
        let slow = matches!(self.ended.recv_timeout(LAST_WAIT), Err(RecvTimeoutError::Timeout));
        let mut last = std::mem::take(&mut *lock(&self.progress));
        if slow && last.why.is_none() {
            last.why = Some("nft timed out".to_owned());
        }
        last
    }
}

struct Keeper {
    set: Set,
    reset: bool,
    progress: Arc<Mutex<Progress>>,
    /// As the set was read last, and what was added since.
    in_force: InForce,
    /// Clients that this run has banned.
    of_this_run: InForce,
    read_every: Duration,
}

impl Keeper {
    /// Applies bans until the queue is closed, and reads the set from time to time while it has elements.
    fn carry_out(&mut self, waiting: &Receiver<Order>) {
        let mut read = Instant::now();
        loop {
            let first = match self.in_force.is_empty() {
                true => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => {
                    let due = read + self.read_every;
                    waiting.recv_timeout(due.saturating_duration_since(Instant::now()))
                }
            };
            match first {
                Ok(first) => {
                    let mut orders = vec![first];
                    orders.extend(waiting.try_iter().take(AT_ONCE - 1));
                    if orders.iter().any(|order| order.was_there) {
                        self.look();
                        orders.retain(|o| !o.was_there || !self.in_force.contains_key(&o.client));
                    }
                    if !orders.is_empty() {
                        self.add(&orders);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    read = Instant::now();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn add(&mut self, orders: &[Order]) {
        let begun = Instant::now();
        let all = || orders.iter().map(|o| (o.client, o.lasts, o.rule.as_str()));
        let added = self.set.add(all()).or_else(|why| {
            // A reload of the firewall may have removed the table.
            let there = self.set.prepare(self.reset).map_err(|_| why)?;
            self.hold(there);
            self.set.add(all())
        });
        let clients = orders.iter().map(|order| order.client);
        match added {
            Ok(()) => {
                for order in orders {
                    self.in_force.insert(order.client, begun + order.lasts);
                    self.of_this_run.insert(order.client, begun + order.lasts);
                }
                self.of_this_run.retain(|_, until| *until > begun);
                self.report(|progress| progress.banned.extend(clients));
            }
            // One that the set cannot take, as where a network in it has the client already, fails alone.
            Err(_) if orders.len() > 1 => {
                for order in orders {
                    self.add(std::slice::from_ref(order));
                }
            }
            Err(why) => self.report(|progress| {
                progress.failed.extend(clients);
                progress.why = Some(why);
            }),
        }
    }

    /// Reads the set.
    fn look(&mut self) {
        let begun = Instant::now();
        match self.set.list() {
            Ok(there) => self.hold(there),
            // Without the set nobody is banned.
            Err(why) => {
                self.in_force.clear();
                self.report(|progress| progress.unread = Some(why));
            }
        }
        self.read_every = LOOK.max(begun.elapsed() * SHARE);
    }

    /// Takes over what the set holds.
    fn hold(&mut self, there: Vec<Element>) {
        let now = Instant::now();
        // `nft` cuts fractions of a second off.
        const CUT: Duration = Duration::from_secs(1);
        let until = |left: Option<Duration>| now + left.map_or(FOR_GOOD, |left| left + CUT);
        self.in_force.clear();
        let there = there.into_iter();
        self.in_force.extend(there.map(|element| (element.client, until(element.left))));
        self.of_this_run.retain(|client, _| self.in_force.contains_key(client));
        self.report(|_| {});
    }

    fn report(&self, change: impl FnOnce(&mut Progress)) {
        let mut progress = lock(&self.progress);
        change(&mut progress);
        progress.in_force = Some(self.in_force.clone());
    }

    /// Lifts the bans of this run that have not expired.
    fn lift(&self) {
        let now = Instant::now();
        let left = self.of_this_run.iter().filter(|(_, until)| **until > now);
        let left: Vec<IpAddr> = left.map(|(client, _)| *client).collect();
        if !left.is_empty()
            && let Err(why) = self.set.lift(&left)
        {
            lock(&self.progress).why = Some(why);
        }
    }
}
