//! What may a process do that only decides? Read what decisions depend on, and keep its own row in the registry.

/// The tables that decisions, the change feed and the poll read.
const READ: [&str; 18] = [
    "account",
    "agency",
    "agency_grant",
    "agency_member",
    "audit",
    "blocked",
    "change",
    "confirmation",
    "contributor",
    "handover",
    "head",
    "lease",
    "policy_bundle",
    "refinery_schema_history",
    "secret",
    "site",
    "staff",
    "support_session",
];

/// The statements that give a database role what `role = pdp` needs, and nothing more, to be run by the tables' owner.
///
/// # Errors
/// The name is not one that every tool writes without quotes: a lower-case letter, then letters, digits and `_`.
pub fn for_decisions(role: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if role.is_empty()
        || role.len() > 63
        || !role.bytes().all(plain)
        || !role.starts_with(|c: char| c.is_ascii_lowercase())
    {
        return Err(format!(
            "`{role}` cannot be the name of the database role: write lower-case letters, digits and `_`, a letter first"
        ));
    }
    Ok(format!(
        "-- For a process with `role = pdp`, which may not change who may do what. Run as the owner of the tables.\n\
         GRANT SELECT ON {} TO {role};\n\
         GRANT SELECT, INSERT, UPDATE, DELETE ON replica TO {role};\n",
        READ.join(", ")
    ))
}
