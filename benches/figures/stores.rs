//! Stores that are made once, and kept below the build folder until what they are made by changes.
//!
//! A SQLite file of so many sites is made by the real import. A PostgreSQL cluster gets the same rows by COPY, table by
//! table, into the schema that the program itself has made: the importer's way takes a round trip for each row. Parts that
//! change what is stored take a copy of the file ([`copy`]); the others use what is kept, which no check changes.

use std::{
    fmt::Write as _,
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use mandate::{
    app::import::{Line, Record, import_batch},
    assignment::SitePolicies,
    digest,
    site::SiteDocument,
    store::{postgres, sqlite},
    time::Timestamp,
};
use rusqlite::{Connection, types::ValueRef};

use crate::{
    data::{self, AGENCIES, Ids},
    postgres::Postgres,
};

/// Few and many sites.
pub const FEW: usize = 1_000;
/// A million.
pub const MANY: usize = 1_000_000;
/// Tables that an import fills, so that each stands before those that name its rows.
const TABLES: [&str; 7] = ["agency", "agency_member", "site", "contributor", "audit", "change", "head"];
/// Lines of one transaction.
const BATCH: usize = 2_000;

/// What a store that is kept is called: another name when it would be made in another way.
fn name(what: &str) -> String {
    let made_by = [include_bytes!("data.rs").as_slice(), include_bytes!("stores.rs")].concat();
    format!("{what}-{}", &digest::sha256(&made_by)[..16])
}

/// The SQLite file of this many sites. What is in it must stay as it is.
pub fn kept(sites: usize, policies: &Arc<SitePolicies>) -> PathBuf {
    let made = data::scratch("made").join(name(&sites.to_string())).with_extension("db");
    if !made.exists() {
        eprintln!("making a store of {sites} sites …");
        let unfinished = made.with_extension("unfinished");
        for ending in ["unfinished", "unfinished-wal", "unfinished-shm"] {
            let _ = fs::remove_file(made.with_extension(ending));
        }
        fill(&unfinished, sites, policies);
        fs::rename(&unfinished, &made).unwrap();
    }
    made
}

/// A copy of the store of this many sites.
pub fn copy(folder: &Path, sites: usize, policies: &Arc<SitePolicies>) -> PathBuf {
    let made = kept(sites, policies);
    let copy = folder.join("mandate.db");
    for ending in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(copy.with_extension(ending));
    }
    fs::copy(&made, &copy).unwrap();
    copy
}

fn fill(path: &Path, sites: usize, policies: &Arc<SitePolicies>) {
    let store = sqlite::open(path, None).unwrap();
    let agencies = (0..AGENCIES).map(|n| Record::Agency(data::agency(n, Ids::Short)));
    let sites = (0..sites).map(|n| Record::Site(Box::new(SiteDocument::from(&data::site(n, Ids::Short)))));
    let mut lines = (1..).zip(agencies.chain(sites)).map(|(number, record)| Line { number, record }).peekable();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    while lines.peek().is_some() {
        let batch = lines.by_ref().take(BATCH).collect();
        let now = Timestamp::from_micros(1_750_000_000_000_000);
        runtime.block_on(import_batch(&store, policies, batch, now)).unwrap();
    }
}

/// The server that holds [`FEW`] sites in one schema and [`MANY`] in another ([`schema`]), started with these settings.
pub fn postgres(settings: &[&str], policies: &Arc<SitePolicies>) -> Postgres {
    let made = data::scratch("made").join(name("postgres"));
    if !made.exists() {
        let unfinished = made.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir(&unfinished).unwrap();
        let settings = ["fsync=off", "shared_buffers=256MB", "max_wal_size=1GB", "maintenance_work_mem=256MB"];
        let server = Postgres::start_in(unfinished.clone(), None, &settings);
        for sites in [FEW, MANY] {
            let from = kept(sites, policies);
            eprintln!("copying {sites} sites to PostgreSQL …");
            copy_to(&server, sites, &from, &unfinished);
        }
        drop(server);
        fs::rename(&unfinished, &made).unwrap();
    }
    Postgres::start_in(made, None, settings)
}

/// The schema that holds this many sites.
pub fn schema(sites: usize) -> String {
    format!("sites_{sites}")
}

fn copy_to(server: &Postgres, sites: usize, from: &Path, folder: &Path) {
    let schema = schema(sites);
    drop(postgres::open(&server.url(&schema), None).unwrap());
    let source = Connection::open(from).unwrap();
    for table in TABLES {
        let file = folder.join(table);
        let columns = write_rows(&source, table, &file);
        // What the importer has written keeps the rules: they are not looked at again for each row.
        let sql = format!(
            "SET session_replication_role = replica; {} COPY \"{schema}\".{table} ({columns}) FROM '{}'",
            if table == "head" { format!("DELETE FROM \"{schema}\".head;") } else { String::new() },
            file.display()
        );
        assert!(server.ask(&sql).is_some(), "COPY of {table}");
        fs::remove_file(file).unwrap();
    }
    assert!(server.ask("VACUUM ANALYZE").is_some());
}

/// Writes a table as COPY reads it; the names of its columns.
fn write_rows(source: &Connection, table: &str, file: &Path) -> String {
    let mut statement = source.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let names: Vec<String> = statement.column_names().iter().map(|name| format!("\"{name}\"")).collect();
    let mut out = BufWriter::new(fs::File::create(file).unwrap());
    let mut rows = statement.query([]).unwrap();
    let mut line = String::new();
    while let Some(row) = rows.next().unwrap() {
        line.clear();
        for n in 0..names.len() {
            if n > 0 {
                line.push('\t');
            }
            match row.get_ref(n).unwrap() {
                ValueRef::Null => line.push_str("\\N"),
                ValueRef::Integer(number) => write!(line, "{number}").unwrap(),
                ValueRef::Text(text) => escape(std::str::from_utf8(text).unwrap(), &mut line),
                other => panic!("no store has such a value: {other:?}"),
            }
        }
        line.push('\n');
        out.write_all(line.as_bytes()).unwrap();
    }
    out.flush().unwrap();
    names.join(", ")
}

fn escape(text: &str, line: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => line.push_str("\\\\"),
            '\t' => line.push_str("\\t"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            other => line.push(other),
        }
    }
}
