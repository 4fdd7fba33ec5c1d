//! Applies bans on a separate thread, so that a slow firewall delays nothing else. Knows nothing about
//! alerts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::nft::Set;
use crate::priority;

/// Maximum number of queued bans, and of bans per batch.
const WAITING: usize = 4096;
const AT_ONCE: usize = 256;
/// How long queued bans are still applied at the end of a run.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// A ban.
#[derive(Clone, Debug)]
pub struct Order {
    /// Client to ban.
    pub client: IpAddr,
    /// Duration.
    pub lasts: Duration,
    /// The rule that caused it.
    pub rule: String,
}

/// Handle of the thread.
#[derive(Debug)]
pub struct Firewall {
    orders: SyncSender<Order>,
    failed: Arc<Mutex<Failed>>,
    ended: Receiver<()>,
}

#[derive(Debug, Default)]
struct Failed {
    clients: Vec<IpAddr>,
    why: Option<String>,
}

impl Firewall {
    /// Starts the thread, which looks up or creates the set. Returns the clients already in it with the time
    /// left.
    ///
    /// # Errors
    /// A message about the set, or that the thread cannot be started.
    pub fn start(
        set: Set,
        reset: bool,
        lift: bool,
    ) -> Result<(Self, Vec<(IpAddr, Duration)>), String> {
        let (orders, waiting) = sync_channel::<Order>(WAITING);
        let (ready, is_ready) = sync_channel(1);
        let (end, ended) = sync_channel(1);
        let failed = Arc::new(Mutex::new(Failed::default()));
        let of_thread = Arc::clone(&failed);
        let work = move || {
            priority::ordinary();
            #[cfg(target_os = "linux")]
            crate::privileges::hand_on();
            let there = set.prepare(reset);
            let is_usable = there.is_ok();
            if ready.send(there).is_ok() && is_usable {
                let of_this_run = carry_out(&set, &waiting, &of_thread);
                if lift && !of_this_run.is_empty() {
                    take_back(&set, of_this_run, &of_thread);
                }
            }
            let _ = end.send(());
        };
        thread::Builder::new()
            .name("http-trace-ban".to_owned())
            .spawn(work)
            .map_err(|error| format!("cannot start the ban thread: {error}"))?;
        let there = is_ready.recv().map_err(|_| "the ban thread failed")??;
        // An element without a timeout is banned permanently.
        const FOR_GOOD: Duration = Duration::from_secs(1 << 30);
        let there = there.into_iter();
        let there = there.map(|element| (element.client, element.left.unwrap_or(FOR_GOOD)));
        let firewall = Firewall {
            orders,
            failed,
            ended,
        };
        Ok((firewall, there.collect()))
    }

    /// Queues a ban without blocking; `false` if the queue is full.
    pub fn ban(&self, order: Order) -> bool {
        match self.orders.try_send(order) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Clients whose ban failed since the last call, and why.
    pub fn failed(&self) -> Option<(Vec<IpAddr>, String)> {
        let mut failed = lock(&self.failed);
        let why = failed.why.take()?;
        Some((std::mem::take(&mut failed.clients), why))
    }

    /// Applies queued bans for at most 5 s. Returns the number of failed bans, and why.
    pub fn close(self) -> (u64, Option<String>) {
        drop(self.orders);
        let slow = matches!(
            self.ended.recv_timeout(LAST_WAIT),
            Err(RecvTimeoutError::Timeout)
        );
        let mut failed = lock(&self.failed);
        let late = slow.then(|| "nft timed out".to_owned());
        (failed.clients.len() as u64, failed.why.take().or(late))
    }
}

fn lock(failed: &Mutex<Failed>) -> MutexGuard<'_, Failed> {
    failed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Applies bans until the queue is closed. Returns the banned clients and the end of each ban.
fn carry_out(
    set: &Set,
    waiting: &Receiver<Order>,
    failed: &Mutex<Failed>,
) -> HashMap<IpAddr, Instant> {
    let mut banned = HashMap::new();
    while let Ok(first) = waiting.recv() {
        let mut orders = vec![first];
        orders.extend(waiting.try_iter().take(AT_ONCE - 1));
        let begun = Instant::now();
        let all = orders.iter().map(|o| (o.client, o.lasts, o.rule.as_str()));
        match set.add(all) {
            Ok(()) => {
                let until = orders.iter().map(|o| (o.client, begun + o.lasts));
                banned.extend(until);
                banned.retain(|_, until| *until > begun);
            }
            Err(why) => {
                let mut failed = lock(failed);
                failed.clients.extend(orders.iter().map(|o| o.client));
                failed.why = Some(why);
            }
        }
    }
    banned
}

/// Lifts bans that have not expired.
fn take_back(set: &Set, banned: HashMap<IpAddr, Instant>, failed: &Mutex<Failed>) {
    let now = Instant::now();
    let left = banned.into_iter().filter(|(_, until)| *until > now);
    let left: Vec<IpAddr> = left.map(|(client, _)| client).collect();
    if let Err(why) = set.lift(&left) {
        lock(failed).why = Some(why);
    }
}
