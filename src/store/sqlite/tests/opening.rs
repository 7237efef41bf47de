//! Who may open the file, and what is said to those who may not.

use std::fs;

use super::*;

fn refused(found: Result<SqlStore, StoreError>) -> String {
    found.expect_err("it was opened").to_string()
}

#[tokio::test]
async fn a_second_writing_process_is_refused_until_the_first_ends() {
    let folder = Folder::new();
    let store = folder.open();
    register(&store, "bakery").await.unwrap();
    let message = refused(sqlite::open(&folder.db(), None));
    for part in ["mandate.db`: it is in use", "mandate.db.lock", &format!("process {}", std::process::id()), "stop it"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    // By another name, too.
    #[cfg(unix)]
    {
        let link = folder.0.path().join("link.db");
        std::os::unix::fs::symlink(folder.db(), &link).unwrap();
        assert!(refused(sqlite::open(&link, None)).contains("is in use"));
    }
    drop(store);
    assert_eq!(folder.open().head().await.unwrap().revision, Revision(1));
}

#[tokio::test]
async fn reading_works_beside_a_writer_and_writes_nothing() {
    let folder = Folder::new();
    let writer = folder.open();
    fill(&writer).await;
    let reader = sqlite::open_read_only(&folder.db()).unwrap();
    assert_eq!(everything(&reader).await, everything(&writer).await);
    register(&writer, "zoo").await.unwrap();
    assert_eq!(everything(&reader).await, everything(&writer).await, "a reader sees the next commit");
    let refused = register(&reader, "zebra").await.unwrap_err().to_string();
    assert!(refused.contains("read only"), "{refused}");
    // The writer ends, the reader goes on, and the next writer is not in its way.
    drop(writer);
    assert_eq!(reader.head().await.unwrap().revision, Revision(6));
    let writer = folder.open();
    register(&writer, "zebra").await.unwrap();
    assert_eq!(reader.head().await.unwrap().revision, Revision(7));
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let folder = Folder::new();
    let store = folder.open();
    fill(&store).await;
    let before = everything(&store).await;
    drop(store);
    let store = folder.open();
    assert_eq!(everything(&store).await, before, "the epoch included");
    let next = store.head().await.unwrap().revision.next();
    assert_eq!(register(&store, "zoo").await.unwrap(), next);
    drop(store);
    let reader = sqlite::open_read_only(&folder.db()).unwrap();
    assert_eq!(reader.head().await.unwrap().revision, next);
}

#[tokio::test]
async fn a_missing_folder_is_made() {
    let folder = Folder::new();
    let store = sqlite::open(&folder.0.path().join("deep/er/mandate.db"), None).unwrap();
    register(&store, "bakery").await.unwrap();
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = Folder::new();
    let file = folder.0.path().join("file");
    fs::write(&file, "x").unwrap();
    let message = refused(sqlite::open(&file.join("mandate.db"), None));
    assert!(message.contains("the folder") && message.contains("cannot be made"), "{message}");

    let directory = folder.0.path().join("directory.db");
    fs::create_dir(&directory).unwrap();
    let message = refused(sqlite::open(&directory, None));
    assert!(message.contains("directory.db`") && message.contains("cannot be opened"), "{message}");

    fs::create_dir(folder.0.path().join("locked.db.lock")).unwrap();
    let message = refused(sqlite::open(&folder.0.path().join("locked.db"), None));
    assert!(message.contains("the lock file") && message.contains("can be written"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser may write anywhere.
    if fs::write(folder.0.path().join("probe"), "").is_err() {
        let message = refused(sqlite::open(&folder.db(), None));
        assert!(message.contains("mandate.db.lock`") && message.contains("can be written"), "{message}");
    }
    fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn only_what_is_there_is_opened_to_read() {
    let folder = Folder::new();
    assert!(refused(sqlite::open_read_only(&folder.db())).contains("cannot be read"));
    assert!(refused(sqlite::open_read_only(folder.0.path())).contains("is not a file"));
    assert!(!folder.db().exists(), "reading makes no file");
}

#[test]
fn a_newer_schema_is_refused_with_what_to_do() {
    let folder = Folder::new();
    drop(folder.open());
    let insert = "INSERT INTO refinery_schema_history VALUES (99, 'future', '2030-01-01T00:00:00Z', '1')";
    folder.shell().execute_batch(insert).unwrap();
    for found in [sqlite::open(&folder.db(), None), sqlite::open_read_only(&folder.db())] {
        assert!(matches!(found, Err(StoreError::Corrupt(_))));
        let message = refused(found);
        assert!(message.contains("newer version of mandate (its schema is 99"), "{message}");
        assert!(message.contains("start that version, or restore a backup"), "{message}");
    }
}

#[test]
fn an_older_schema_is_not_read_in_place() {
    let folder = Folder::new();
    drop(folder.open());
    folder.shell().execute_batch("DELETE FROM refinery_schema_history").unwrap();
    let message = refused(sqlite::open_read_only(&folder.db()));
    assert!(message.contains("older schema 0") && message.contains("mandate serve"), "{message}");
}

#[test]
fn a_migration_that_was_edited_is_refused() {
    let folder = Folder::new();
    drop(folder.open());
    folder.shell().execute_batch("UPDATE refinery_schema_history SET checksum = '1'").unwrap();
    let message = refused(sqlite::open(&folder.db(), None));
    assert!(message.contains("is not that of this version"), "{message}");
}

#[test]
fn a_crash_before_the_first_migration_is_no_obstacle() {
    let folder = Folder::new();
    // What refinery makes first, in a transaction of its own.
    let table = "CREATE TABLE refinery_schema_history (version int4 PRIMARY KEY, name VARCHAR(255), \
                 applied_on VARCHAR(255), checksum VARCHAR(255))";
    Connection::open(folder.db()).unwrap().execute_batch(table).unwrap();
    drop(folder.open());
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let folder = Folder::new();
    Connection::open(folder.db()).unwrap().execute_batch("CREATE TABLE shopping (item TEXT)").unwrap();
    for found in [sqlite::open(&folder.db(), None), sqlite::open_read_only(&folder.db())] {
        assert!(refused(found).contains("but not one of mandate's"));
    }
    let text = folder.0.path().join("letter.txt");
    fs::write(&text, "Dear Maria,\n".repeat(100)).unwrap();
    for found in [sqlite::open(&text, None), sqlite::open_read_only(&text)] {
        assert!(matches!(found, Err(StoreError::Corrupt(_))));
        let message = refused(found);
        assert!(message.contains("letter.txt`") && message.contains("not a database"), "{message}");
    }
    assert!(fs::read_to_string(&text).unwrap().starts_with("Dear Maria"));
}

#[tokio::test]
async fn the_file_is_used_as_promised() {
    let folder = Folder::new();
    let store = folder.open();
    let ask = async |name: &'static str| {
        let writer = &store;
        writer
            .with(move |db: &mut Connection| {
                db.pragma_query_value::<rusqlite::types::Value, _>(None, name, |row| row.get(0))
            })
            .await
    };
    let expected =
        [("synchronous", 2_i64), ("foreign_keys", 1), ("trusted_schema", 0), ("mmap_size", 0), ("busy_timeout", 2000)];
    for (name, value) in expected {
        assert_eq!(ask(name).await.unwrap(), value.into(), "{name}");
    }
    assert_eq!(ask("journal_mode").await.unwrap(), "wal".to_owned().into());
    assert!(rusqlite::version_number() >= 3_051_003);
}
