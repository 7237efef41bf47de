//! SQLite, the embedded system of record.
