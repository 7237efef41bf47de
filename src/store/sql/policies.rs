//! Policies as they are kept: files under the hash of their content, never changed, so that a copy that was tampered with
//! is known by its name.

use super::{
    db::{Db, Param, params},
    fields::{Fields, contradiction},
};
use crate::{
    policy::Sources,
    store::{PolicyBundle, StoreError},
    time::Timestamp,
};

/// Keeps files, also in the place of what somebody has made of them.
pub(super) fn keep(db: &dyn Db, bundle: &PolicyBundle, at: Timestamp) -> Result<(), StoreError> {
    let files = serde_json::to_string(&bundle.sources).map_err(contradiction)?;
    let row = vec![("sha256", Param::from(&bundle.sha256)), ("files", files.into()), ("at", at.into())];
    db.put("policy_bundle", &["sha256"], row, None)?;
    Ok(())
}

/// The files that are kept under a hash. Whether they have that hash is for whoever builds them to see.
pub(super) fn load(db: &dyn Db, sha256: &str) -> Result<Option<Sources>, StoreError> {
    db.one("SELECT files FROM policy_bundle WHERE sha256 = ?1", params![sha256], |row| {
        Fields { table: "policy_bundle", key: sha256, row }.json("files")
    })
}
