//! Is this a server and a database that this version can use? Migrations, forward only, each a file whose checksum is
//! kept.
//!
//! They run under a lock, so that of many replicas that start at once one migrates, and all of them in one transaction. A
//! database from a newer version is refused, because what it means is not known here.

use std::time::Duration;

use refinery::{Migration, Runner};
use tokio_postgres::Client;

use super::error::failed;
use crate::store::StoreError;

/// Every migration, in order: its name and text. A new one goes at the end; none is ever changed.
const MIGRATIONS: [(&str, &str); 4] = [
    ("V1__schema", include_str!("migrations/V1__schema.sql")),
    ("V2__owners_of_replicas", include_str!("migrations/V2__owners_of_replicas.sql")),
    ("V3__policies", include_str!("migrations/V3__policies.sql")),
    ("V4__search", include_str!("migrations/V4__search.sql")),
];

/// The schema that this version writes: the last migration's.
#[expect(clippy::cast_possible_wrap, reason = "there are a few")]
const VERSION: i64 = MIGRATIONS.len() as i64;

/// The oldest server: PostgreSQL 15.
const OLDEST: i64 = 15_00_00;

/// How long looking at the schema, waiting for another replica's migration and running one's own may take.
pub(super) const MIGRATING: Duration = Duration::from_mins(2);

/// The lock that one migrating replica holds: "mandate" in ASCII.
const LOCK: i64 = 0x006d_616e_6461_7465;

/// Makes or updates the tables, when this version may.
pub(super) async fn prepare(client: &mut Client) -> Result<(), StoreError> {
    fit(client).await?;
    if standby(client).await? {
        return Err(StoreError::Unavailable(
            "this server is a standby and takes no changes; name the primary in the database's URL".into(),
        ));
    }
    let run = |sql| client.batch_execute(sql);
    run("SET statement_timeout = 0; SET lock_timeout = 0").await.map_err(|error| failed(&error))?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(|error| failed(&error))?;
    let outcome = bring_up_to_date(client).await;
    let unlocked = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    outcome?;
    unlocked.map_err(|error| failed(&error))?;
    let back = "SET statement_timeout = '10s'; SET lock_timeout = '2s'";
    client.batch_execute(back).await.map_err(|error| failed(&error))
}

async fn bring_up_to_date(client: &mut Client) -> Result<(), StoreError> {
    match version(client).await? {
        Some(VERSION) => return Ok(()),
        Some(found) if found > VERSION => return Err(newer(found)),
        None if !is_empty(client).await? => return Err(foreign()),
        Some(_) | None => {}
    }
    let refused = |error: refinery::Error| match std::error::Error::source(&error) {
        Some(cause) => StoreError::Unavailable(format!("the schema could not be set up: {error}: {cause}")),
        None => StoreError::Corrupt(format!("the schema is not that of this version: {error}")),
    };
    let migrations = MIGRATIONS
        .into_iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    Runner::new(&migrations).set_grouped(true).run_async(client).await.map_err(refused)?;
    Ok(())
}

/// Whether the database has exactly this version's schema.
pub(super) async fn check(client: &Client) -> Result<(), StoreError> {
    fit(client).await?;
    match version(client).await? {
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => Err(newer(found)),
        Some(found) => Err(StoreError::Corrupt(format!(
            "it has the older schema {found}, this version reads {VERSION}; start `mandate serve` on it once"
        ))),
        None => Err(foreign()),
    }
}

/// Whether the server is one that this version speaks to.
async fn fit(client: &Client) -> Result<(), StoreError> {
    let number = number(client, "SELECT current_setting('server_version_num')::bigint").await?;
    let utf8 = number_of(client, "SELECT (current_setting('server_encoding') = 'UTF8')::int::bigint").await?;
    match unfit(number, utf8 == Some(1)) {
        Some(why) => Err(StoreError::Unavailable(why)),
        None => Ok(()),
    }
}

/// Why a server of this version number, or with another encoding than UTF-8, is not one.
fn unfit(number: i64, utf8: bool) -> Option<String> {
    if number < OLDEST {
        let major = number / 10_000;
        return Some(format!("it is PostgreSQL {major}, and this version needs 15 or newer; upgrade the server"));
    }
    (!utf8).then(|| "its encoding is not UTF8; make the database with `createdb --encoding=UTF8`".to_owned())
}

/// Whether the server only follows another one.
async fn standby(client: &Client) -> Result<bool, StoreError> {
    Ok(number(client, "SELECT pg_is_in_recovery()::int::bigint").await? == 1)
}

/// The schema's version, none when there is no history of migrations.
async fn version(client: &Client) -> Result<Option<i64>, StoreError> {
    let known = "SELECT (to_regclass('refinery_schema_history') IS NOT NULL)::int::bigint";
    if number(client, known).await? == 0 {
        return Ok(None);
    }
    // A history without an entry is what a crash between its making and the first migration leaves.
    let last = "SELECT coalesce(max(version), 0)::bigint FROM refinery_schema_history";
    Ok(Some(number(client, last).await?))
}

async fn is_empty(client: &Client) -> Result<bool, StoreError> {
    let tables = "SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = current_schema() AND relkind IN ('r', 'p')";
    Ok(number(client, tables).await? == 0)
}

async fn number(client: &Client, sql: &str) -> Result<i64, StoreError> {
    number_of(client, sql).await?.ok_or_else(|| StoreError::Corrupt(format!("no answer to: {sql}")))
}

async fn number_of(client: &Client, sql: &str) -> Result<Option<i64>, StoreError> {
    let row = client.query_one(sql, &[]).await.map_err(|error| failed(&error))?;
    row.try_get(0).map_err(|error| failed(&error))
}

fn newer(found: i64) -> StoreError {
    StoreError::Corrupt(format!(
        "it was written by a newer version of mandate (its schema is {found}, this version knows {VERSION}); start \
         that version, or restore a backup from before the upgrade"
    ))
}

fn foreign() -> StoreError {
    StoreError::Corrupt(
        "it has tables, but not mandate's; give mandate a database of its own, or a schema of its own in \
         `?options=-csearch_path%3Dmandate`"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_last_migration() {
        let names: Vec<String> = (1..=VERSION).map(|n| format!("V{n}__")).collect();
        assert_eq!(MIGRATIONS.len(), names.len());
        assert!(MIGRATIONS.iter().zip(&names).all(|((name, _), start)| name.starts_with(start)));
    }

    #[test]
    fn a_server_that_does_not_fit_is_told_what_is_needed() {
        let of = |number| unfit(number, true);
        assert_eq!(of(140_013).unwrap(), "it is PostgreSQL 14, and this version needs 15 or newer; upgrade the server");
        assert_eq!([150_000, 150_012, 180_001].map(of), [None, None, None]);
        assert!(unfit(170_000, false).unwrap().contains("createdb --encoding=UTF8"));
    }
}
