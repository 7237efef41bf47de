//! The database file: who may open it, and how.
//!
//! One process writes. It holds an exclusive lock on `<file>.lock` for as long as it runs, taken before anything else
//! is looked at, so that a second one is refused instead of answering from its own copy of the roles. Commands that
//! only read take no lock and see whole commits, because the file is in write-ahead mode. SQLite's own locks lost for
//! this: they last for a transaction, not for a process.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// Before this version SQLite could corrupt a database in write-ahead mode (the WAL-reset bug, 3.7.0 to 3.51.2).
const MIN_SQLITE: i32 = 3_051_003;

/// How long a statement waits for another process's lock, a backup's for example.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 64;

/// Where the database is, the same for every connection.
#[derive(Debug, Clone)]
pub(super) struct Place {
    path: PathBuf,
}

/// The lock that one writing process holds; let go when dropped, or by the system when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Place {
    /// A database that will be written: its folder is made when it is not there.
    pub fn to_write(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| {
                StoreError::Unavailable(format!("the folder `{}` cannot be made: {error}", folder.display()))
            })?;
        }
        Ok(Self { path: resolved(path) })
    }

    /// A database that will be read: it must be there.
    pub fn to_read(path: &Path) -> Result<Self, StoreError> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Self { path: resolved(path) }),
            Ok(_) => Err(StoreError::Unavailable(format!("`{}` is not a file", path.display()))),
            Err(error) => {
                Err(StoreError::Unavailable(format!("the database `{}` cannot be read: {error}", path.display())))
            }
        }
    }

    /// Refuses a folder that other machines may write to.
    pub fn refuse_network(&self) -> Result<(), StoreError> {
        self.path.parent().map_or(Ok(()), super::mounts::refuse_network)
    }

    /// Takes the writing process's lock.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let name = PathBuf::from(name);
        let cannot = |error: std::io::Error| {
            StoreError::Unavailable(format!(
                "the lock file `{}` cannot be taken: {error}; check that the folder exists and can be written",
                name.display()
            ))
        };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&name).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(20).read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    id => format!("process {id}"),
                };
                return Err(StoreError::Unavailable(format!(
                    "it is in use: {holder} holds `{}`; stop it, choose another database, or use a command that only \
                     reads, which works beside it",
                    name.display()
                )));
            }
        }
        // For the message above, in the other process; the lock holds without it.
        let _ = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Lock { _file: file })
    }

    /// The connection that writes.
    pub fn connect(&self) -> Result<Connection, StoreError> {
        let version = rusqlite::version_number();
        if version < MIN_SQLITE {
            return Err(StoreError::Unavailable(format!(
                "SQLite {} can lose data in write-ahead mode; use 3.51.3 or later",
                rusqlite::version()
            )));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        self.open(flags)
    }

    /// A connection that only reads.
    pub fn connect_read_only(&self) -> Result<Connection, StoreError> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, StoreError> {
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.query_row("PRAGMA mmap_size = 0", [], |_| Ok(())).or_else(|error| match error {
            // Built without memory-mapped access, the pragma answers nothing.
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(other),
        })?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    /// The error with the file's name, for whoever has just chosen it.
    pub fn named(&self, error: StoreError) -> StoreError {
        let named = |what| format!("`{}`: {what}", self.path.display());
        match error {
            StoreError::Unavailable(what) => StoreError::Unavailable(named(what)),
            StoreError::Unknown(what) => StoreError::Unknown(named(what)),
            StoreError::Corrupt(what) => StoreError::Corrupt(named(what)),
        }
    }
}

/// Makes a connection keep its promises about durability. Before this nothing in the file has changed.
pub(super) fn write_ahead(connection: &Connection) -> Result<(), StoreError> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Unavailable(format!(
            "it cannot be put into write-ahead mode (it stayed in `{mode}`); use a local disk"
        )));
    }
    // FULL: the reply promises that the change survives a power cut, and NORMAL would not keep that.
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(())
}

/// The path without symbolic links, so that one file has one lock.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(whole) = fs::canonicalize(path) {
        return whole;
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match (fs::canonicalize(folder), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
