//! Keeps the inventory of a site across runs, beside the file of `--state`: counts in memory, and
//! periodically writes the new counts on a separate thread. Memory holds only these and the names of known
//! services and endpoints. Does not know the database format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::database::{Bounds, Database, move_aside};
use super::{SaveOutcome, taken};
use crate::messages::NotReadable;
use crate::priority;
use crate::sync::unix_ns;
use crate::text::Escaped;
use http_trace_detect::alert::Alert;
use http_trace_model::endpoint::Endpoints;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_report::kept::{DAY_NS, Key, Value};
use http_trace_report::{Inventory, Options};

/// Maximum number of rows queued while the database cannot be written.
const WAITING: usize = 200_000;

pub fn path(state: &Path) -> PathBuf {
    let path = taken::with_suffix(&taken::resolved(state), ".inventory.db");
    // SQLite is opened without following symlinks, so folders must be resolved too.
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    match (folder.unwrap_or(Path::new(".")).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// Reads the whole inventory for a report; `None` if there is none.
pub fn read(path: &Path, options: Options) -> Result<Option<Inventory>, String> {
    let Some(database) = Database::read(path).map_err(|why| why.to_string())? else {
        return Ok(None);
    };
    let mut inventory = Inventory::new(options);
    let read = database.all(|key, value| inventory.add(key, value));
    read.map_err(|error| error.to_string())?;
    Ok(Some(inventory))
}

#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// How paths are grouped into endpoints.
    pub endpoints: Endpoints,
    /// Write interval.
    pub every: Duration,
    /// How long a day's rows are kept.
    pub keep: Duration,
    /// Maximum size of the database in bytes.
    pub bytes: u64,
    /// Whether to wait for a slow disk: for recordings, whose events can wait.
    pub waits: bool,
}

/// Rows passed to the thread.
type Rows = Vec<(Key, Value)>;

/// Counts events and passes rows to the writing thread.
#[derive(Debug)]
pub struct InventoryKeeper {
    asked: KeeperSettings,
    inventory: Inventory,
    /// The day being counted.
    day: u32,
    last_ns: u64,
    is_changed: bool,
    /// Connections that are not readable and were counted, by protocol and port.
    unreadable: BTreeMap<(&'static str, u16), u64>,
    next: Instant,
    thread: Thread,
}

#[derive(Debug)]
struct Thread {
    rows: SyncSender<Rows>,
    is_idle: Arc<AtomicBool>,
    news: Receiver<String>,
    thread: JoinHandle<Option<String>>,
}

impl InventoryKeeper {
    /// Opens or creates the database; an unusable one is moved aside. Also returns a message about that.
    pub fn open(path: PathBuf, asked: KeeperSettings) -> Result<(Self, Option<String>), String> {
        let mut inventory = Inventory::new(Options {
            endpoints: asked.endpoints.clone(),
            unseen_ns: None,
            shown: |bytes| Escaped(bytes).to_string(),
        });
        let mut said = None;
        let opened = Database::open(&path).and_then(|database| {
            let know = |key, first, last| inventory.know(key, first, last);
            database.known(know).map(|()| database).map_err(Into::into)
        });
        let database = match opened {
            Err(why) if why.is_movable() => {
                let name = path.display();
                let aside = move_aside(&path)
                    .map_err(|error| format!("{why}; it cannot be moved aside: {error}"))?;
                said =
                    Some(format!("inventory {name} not used: {why}; moved to {}", aside.display()));
                Database::open(&path)
            }
            opened => opened,
        };
        let database = database.map_err(|why| why.to_string())?;
        let bounds = Bounds {
            days: u32::try_from(asked.keep.as_nanos() / u128::from(DAY_NS))
                .unwrap_or(u32::MAX)
                .max(1),
            bytes: i64::try_from(asked.bytes).unwrap_or(i64::MAX),
        };
        let thread = Thread::start(Writer::new(path, database, bounds))
            .map_err(|error| format!("cannot start a thread to write it: {error}"))?;
        let keeper = InventoryKeeper {
            next: Instant::now() + asked.every,
            asked,
            inventory,
            day: 0,
            last_ns: 0,
            is_changed: false,
            unreadable: BTreeMap::new(),
            thread,
        };
        Ok((keeper, said))
    }

    /// Counts an event, which must be redacted.
    pub fn event(&mut self, event: &HttpEvent) {
        self.reach(event.time_ns);
        self.inventory.event(event);
        self.is_changed = true;
    }

    /// Hands over what was counted on the days before.
    fn reach(&mut self, time_ns: u64) {
        let day = day(time_ns);
        if day > self.day && (!self.is_changed || self.hand_over()) {
            self.day = day;
            self.inventory.end_day();
        }
        self.last_ns = self.last_ns.max(time_ns);
    }

    /// Counts an alert, which must be redacted.
    pub fn alert(&mut self, alert: &Alert) {
        self.inventory.alert(alert);
        self.is_changed = true;
    }

    pub fn loss(&mut self, loss: &Loss) {
        self.inventory.loss(loss);
        self.is_changed = true;
    }

    /// Counts connections that are not readable; the items are those of the run until
    /// this time.
    pub fn unreadable(&mut self, items: &[NotReadable], now_ns: u64) {
        for NotReadable { protocol, port, connections } in items {
            let told = self.unreadable.get(&(*protocol, *port)).copied();
            let new = connections.saturating_sub(told.unwrap_or(0));
            if new > 0 {
                self.reach(now_ns);
                self.inventory.unreadable(protocol, *port, new);
                self.unreadable.insert((protocol, *port), *connections);
                self.is_changed = true;
            }
        }
    }

    /// Passes on new rows, if due. Returns a message to print.
    pub fn work(&mut self) -> Option<String> {
        let now = Instant::now();
        if self.is_changed && now >= self.next && self.hand_over() {
            self.next = now + self.asked.every;
        }
        self.thread.news.try_recv().ok()
    }

    /// Passes rows to the thread; `false` if it is still busy.
    fn hand_over(&mut self) -> bool {
        if !self.asked.waits && !self.thread.is_idle.load(Ordering::Acquire) {
            return false;
        }
        let rows = self.rows();
        self.thread.is_idle.store(false, Ordering::Release);
        // If the thread has died, that is reported at the end.
        let _ = self.thread.rows.send(rows);
        true
    }

    fn rows(&mut self) -> Rows {
        self.is_changed = false;
        let keep_ns = u64::try_from(self.asked.keep.as_nanos()).unwrap_or(u64::MAX);
        let forget_ns = self.last_ns.saturating_sub(keep_ns);
        self.inventory.take(self.day, forget_ns)
    }

    /// Writes the remaining rows.
    pub fn finish(mut self) -> SaveOutcome {
        if self.is_changed {
            let rows = self.rows();
            let _ = self.thread.rows.send(rows);
        }
        let Thread { rows, news, thread, .. } = self.thread;
        drop(rows);
        let failure = thread.join().unwrap_or_else(|_| {
            Some("the inventory is no longer kept: its writer thread failed".to_owned())
        });
        let said = news.try_iter().filter(|line| failure.as_ref() != Some(line));
        SaveOutcome { said: said.last(), failure }
    }
}

/// Days since 1970.
fn day(ns: u64) -> u32 {
    u32::try_from(ns / DAY_NS).unwrap_or(u32::MAX)
}

impl Thread {
    fn start(mut writer: Writer) -> std::io::Result<Self> {
        let (rows, incoming) = sync_channel::<Rows>(1);
        let (tell, news) = sync_channel(8);
        let is_idle = Arc::new(AtomicBool::new(true));
        let idle = Arc::clone(&is_idle);
        let work = move || {
            for rows in incoming {
                if let Some(line) = writer.write(rows) {
                    let _ = tell.try_send(line);
                }
                idle.store(true, Ordering::Release);
            }
            writer.end()
        };
        let thread = priority::spawn("inventory", work)?;
        Ok(Thread { rows, is_idle, news, thread })
    }
}

/// Writes rows, and queues them for the next time if that fails.
#[derive(Debug)]
struct Writer {
    path: PathBuf,
    /// `None` if it was moved aside and no new one could be created yet.
    database: Option<Database>,
    bounds: Bounds,
    waiting: BTreeMap<Key, Value>,
    /// Rows that did not fit into the queue.
    lost: u64,
    failure: Option<String>,
}

impl Writer {
    fn new(path: PathBuf, database: Database, bounds: Bounds) -> Self {
        Writer {
            path,
            database: Some(database),
            bounds,
            waiting: BTreeMap::new(),
            lost: 0,
            failure: None,
        }
    }

    /// Writes these and queued rows. Returns a message, once.
    fn write(&mut self, rows: Rows) -> Option<String> {
        for (key, value) in rows {
            let has_room = self.waiting.len() < WAITING;
            match self.waiting.get_mut(&key) {
                Some(of) => of.join(value),
                None if has_room => drop(self.waiting.insert(key, value)),
                None => self.lost += 1,
            }
        }
        let failure = match self.try_write() {
            Ok(said) => {
                self.failure = None;
                return said;
            }
            Err(why) => format!("cannot keep the inventory in {}: {why}", self.path.display()),
        };
        let is_new = self.failure.as_ref() != Some(&failure);
        self.failure = Some(failure.clone());
        is_new.then_some(failure)
    }

    fn try_write(&mut self) -> Result<Option<String>, String> {
        let words = |why: super::database::Useless| why.to_string();
        let database = match &mut self.database {
            Some(database) => database,
            none => none.insert(Database::open(&self.path).map_err(words)?),
        };
        let today = unix_ns().map_or(u32::MAX, day);
        let Err(why) = database.add(&self.waiting, self.bounds, today) else {
            self.waiting.clear();
            return Ok(None);
        };
        let why = super::database::Useless::from(why);
        if !why.is_movable() {
            return Err(words(why));
        }
        self.database = None;
        let aside = move_aside(&self.path)
            .map_err(|error| format!("{why}; it cannot be moved aside: {error}"))?;
        let mut database = Database::open(&self.path).map_err(words)?;
        let written = database.add(&self.waiting, self.bounds, today);
        written.map_err(|why| why.to_string())?;
        self.database = Some(database);
        self.waiting.clear();
        Ok(Some(format!(
            "inventory {} no longer used: {why}; moved to {}",
            self.path.display(),
            aside.display()
        )))
    }

    /// Why the database is incomplete, at the end.
    fn end(mut self) -> Option<String> {
        if self.failure.is_some() && !self.waiting.is_empty() {
            self.write(Vec::new());
        }
        let lost = (self.lost > 0).then(|| {
            format!(
                "the inventory {} lacks {} rows that could not be written",
                self.path.display(),
                self.lost
            )
        });
        self.failure.or(lost)
    }
}
