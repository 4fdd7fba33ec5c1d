//! The database of the inventory: rows of [`http_trace_report::kept`] in one SQLite table. Each change is a
//! transaction, so that the database is consistent after any end of a run, and readable meanwhile. Validates
//! what it reads, follows no symlink, and never touches a file of another application. Knows nothing about
//! events.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_trace_report::kept::{Key, Kind, Value};
use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, Error, ErrorCode, OpenFlags, OptionalExtension, Row, TransactionBehavior, params,
};

use super::taken::{self, Unusable};

/// The SQLite application id: `HtTr`.
const APPLICATION: u32 = u32::from_be_bytes(*b"HtTr");
const VERSION: u32 = 1;
/// Times are in Unix ns; `value` is JSON.
const TABLE: &str = "CREATE TABLE kept (day INTEGER NOT NULL, kind TEXT NOT NULL, service TEXT NOT NULL, \
    method TEXT NOT NULL, path TEXT NOT NULL, referrer TEXT NOT NULL, first_ns INTEGER NOT NULL, \
    last_ns INTEGER NOT NULL, value TEXT NOT NULL, \
    PRIMARY KEY (day, kind, service, method, path, referrer)) STRICT, WITHOUT ROWID";

/// Lock timeout.
const PATIENCE: Duration = Duration::from_secs(5);
/// If the database exceeds its size limit, this fraction of its rows is removed at a time, oldest first.
const PART: i64 = 16;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Useless {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] Unusable),
    /// A file of another application.
    #[error("it is not an http-trace inventory; move it away, or name another file with --state")]
    NotOurs,
    #[error("it has version {0}, this http-trace reads version {VERSION}")]
    Version(u32),
    #[error("{0}")]
    Sql(#[from] Error),
    /// Another table definition.
    #[error("it has no inventory table")]
    Table,
}

impl Useless {
    /// Whether the file is ours and may be moved aside.
    pub fn is_movable(&self) -> bool {
        match self {
            Useless::Version(_) | Useless::Table => true,
            Useless::File(_) | Useless::NotOurs => false,
            // A value of the wrong type is damage, too.
            Useless::Sql(Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..)) => true,
            Useless::Sql(error) => matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            ),
        }
    }
}

/// Limits on what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Rows are kept for this many days before the newest one (or today, if that is earlier).
    pub days: u32,
    /// Maximum size in bytes.
    pub bytes: i64,
}

#[derive(Debug)]
pub struct Database {
    connection: Connection,
}

impl Database {
    /// Opens or creates the database for writing.
    pub fn open(path: &Path) -> Result<Self, Useless> {
        match taken::open_trusted(path)? {
            Some(mut file) if !is_empty(&file) => is_ours(&mut file)?,
            _ => make(path)?,
        }
        Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens a database for reading, whoever owns it; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, Useless> {
        if taken::of_file(fs::symlink_metadata(path))?.is_none() {
            return Ok(None);
        }
        is_ours(&mut File::open(path).map_err(Unusable::Unreadable)?)?;
        // A reader rolls back the journal of a killed run, for which it needs write access.
        let writes = fs::OpenOptions::new().write(true).open(path).is_ok();
        let flags = match writes {
            true => OpenFlags::SQLITE_OPEN_READ_WRITE,
            false => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
        Self::connect(path, flags).map(Some)
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, Useless> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        // Anybody with write access may have added views and triggers.
        let tables = {
            let mut tables = connection.prepare("SELECT sql FROM sqlite_schema")?;
            let sql = tables.query_map([], |row| row.get::<_, Option<String>>(0))?;
            sql.collect::<Result<Vec<_>, _>>()?
        };
        if tables != [Some(TABLE.to_owned())] {
            return Err(Useless::Table);
        }
        Ok(Database { connection })
    }

    /// Services and endpoints, with their first and last event.
    pub fn known(&self, mut each: impl FnMut(Key, u64, u64)) -> Result<(), Error> {
        let mut rows = self.connection.prepare(
            "SELECT max(day), kind, service, method, path, referrer, min(first_ns), max(last_ns) FROM kept \
             WHERE kind IN ('service', 'endpoint') GROUP BY kind, service, method, path, referrer",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(key) = key(row)? {
                each(key, unsigned(row.get(6)?), unsigned(row.get(7)?));
            }
        }
        Ok(())
    }

    /// All rows, by day.
    pub fn all(&self, mut each: impl FnMut(Key, Value)) -> Result<(), Error> {
        let mut rows = self.connection.prepare(
            "SELECT day, kind, service, method, path, referrer, value FROM kept ORDER BY day",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let Some(key) = key(row)? else { continue };
            let value = row.get_ref(6)?.as_str().unwrap_or_default();
            if let Some(value) = Value::parse(key.kind, value) {
                each(key, value);
            }
        }
        Ok(())
    }

    /// Adds rows to those stored, and removes rows beyond the limits, in one transaction. `today` is the
    /// current day: rows with a later day do not make others expire.
    ///
    /// # Errors
    /// Those of SQLite; nothing is changed then.
    pub fn add(
        &mut self,
        rows: &BTreeMap<Key, Value>,
        bounds: Bounds,
        today: u32,
    ) -> Result<(), Error> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut get = transaction.prepare(
                "SELECT value FROM kept WHERE day = ?1 AND kind = ?2 AND service = ?3 AND method = ?4 \
                 AND path = ?5 AND referrer = ?6",
            )?;
            let mut put = transaction.prepare(
                "INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            for (key, value) in rows {
                let Key { day, service, method, path, referrer, .. } = key;
                let kind = key.kind.name();
                let before = get
                    .query_row(params![day, kind, service, method, path, referrer], |row| {
                        Ok(Value::parse(key.kind, row.get_ref(0)?.as_str().unwrap_or_default()))
                    });
                let mut now = value.clone();
                if let Some(mut before) = before.optional()?.flatten() {
                    before.join(now);
                    now = before;
                }
                let day_ns = u64::from(*day).saturating_mul(http_trace_report::kept::DAY_NS);
                let (first, last) = now.times_ns().unwrap_or((day_ns, day_ns));
                put.execute(params![
                    day,
                    kind,
                    service,
                    method,
                    path,
                    referrer,
                    first as i64,
                    last as i64,
                    now.json()
                ])?;
            }
            let newest: Option<u32> =
                transaction.query_row("SELECT max(day) FROM kept", [], |row| row.get(0))?;
            let oldest = newest.unwrap_or(0).min(today).saturating_sub(bounds.days);
            transaction.execute("DELETE FROM kept WHERE day < ?1", [oldest])?;
        }
        while size(&transaction)? > bounds.bytes {
            let rows: i64 =
                transaction.query_row("SELECT count(*) FROM kept", [], |row| row.get(0))?;
            let at = transaction.query_row(
                "SELECT last_ns FROM kept ORDER BY last_ns LIMIT 1 OFFSET ?1",
                [rows.saturating_sub(1).min(rows / PART)],
                |row| row.get::<_, i64>(0),
            );
            let Some(at) = at.optional()? else { break };
            transaction.execute("DELETE FROM kept WHERE last_ns <= ?1", [at])?;
        }
        transaction.commit()
    }
}

/// Number of bytes in use.
fn size(connection: &Connection) -> Result<i64, Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(pages.saturating_mul(number("page_size")?))
}

/// The key of a row; `None` if it is not valid.
fn key(row: &Row<'_>) -> Result<Option<Key>, Error> {
    let text = |at| Ok::<_, Error>(row.get_ref(at)?.as_str().ok().map(str::to_owned));
    let kind = text(1)?.as_deref().and_then(Kind::named);
    let (Some(kind), Some(service), Some(method), Some(path), Some(referrer)) =
        (kind, text(2)?, text(3)?, text(4)?, text(5)?)
    else {
        return Ok(None);
    };
    let Ok(day) = row.get(0) else { return Ok(None) };
    Ok(Some(Key { day, kind, service, method, path, referrer }))
}

/// SQLite only has signed integers.
const fn unsigned(number: i64) -> u64 {
    number as u64
}

fn is_empty(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.len() == 0)
}

/// Checks the header for our application id (sqlite.org/fileformat2.html).
fn is_ours(file: &mut File) -> Result<(), Useless> {
    let mut header = [0; 100];
    let read = file.read_exact(&mut header);
    let number =
        |at: usize| header[at..at + 4].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    if read.is_err() || !header.starts_with(b"SQLite format 3\0") || number(68) != APPLICATION {
        return Err(Useless::NotOurs);
    }
    match number(60) {
        VERSION => Ok(()),
        other => Err(Useless::Version(other)),
    }
}

/// Creates an empty database under a temporary name, so that the file is marked as ours from the start.
fn make(path: &Path) -> Result<(), Useless> {
    let beside = taken::beside(path);
    // A journal that a killed run left behind must not be applied to the new database.
    for left in [journal(path), journal(&beside)] {
        taken::present(fs::remove_file(&left)).map_err(Unusable::Folder)?;
    }
    let made =
        fill(&beside).and_then(|()| Ok(fs::rename(&beside, path).map_err(Unusable::Folder)?));
    if made.is_err() {
        // A part of it is useless, and takes space on a full disk.
        let _ = fs::remove_file(journal(&beside));
        let _ = fs::remove_file(&beside);
    }
    made
}

/// Writes an empty database to a new file.
fn fill(path: &Path) -> Result<(), Useless> {
    taken::create(path).map_err(Unusable::Folder)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    // The limit is one of the file: what removed rows took is given back.
    connection.pragma_update(None, "auto_vacuum", "FULL")?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    connection.execute(TABLE, [])?;
    Ok(connection.close().map_err(|(_, error)| error)?)
}

/// The rollback journal, which belongs to the database.
fn journal(path: &Path) -> PathBuf {
    taken::with_suffix(path, "-journal")
}

/// Moves a database and its journal aside; returns the new path.
pub fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = taken::move_aside(path)?;
    taken::present(fs::rename(journal(path), journal(&aside)))?;
    Ok(aside)
}

#[cfg(test)]
mod tests;
