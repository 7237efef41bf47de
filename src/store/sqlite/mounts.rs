//! Is the file on this machine? A file system shared over a network is refused.
//!
//! Write-ahead mode keeps its index in memory shared by processes of one machine, and the writing process's lock is
//! only as good as the file system's. Over a network both can seem to work until two machines write at once.

use std::path::Path;

use crate::store::StoreError;

/// File systems that other machines write to.
const SHARED: [&str; 11] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs", "glusterfs", "fuse.glusterfs", "lustre", "fuse.sshfs"];

/// Refuses a folder on a network. Where the system does not tell what is mounted, nothing is refused.
pub(super) fn refuse_network(folder: &Path) -> Result<(), StoreError> {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return Ok(()) };
    match kind(&mounts, folder) {
        Some(kind) if SHARED.contains(&kind) => Err(StoreError::Unavailable(format!(
            "its folder is on a network file system (`{kind}`), where its locks cannot be relied on; use a local disk, \
             or PostgreSQL to share the store between machines"
        ))),
        _ => Ok(()),
    }
}

/// The kind of the file system that holds a folder: that of the longest mount point above it, the last one if several.
fn kind<'m>(mounts: &'m str, folder: &Path) -> Option<&'m str> {
    let mut found: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (words.next(), words.next()) else { continue };
        let point = point.replace("\\040", " ");
        if folder.starts_with(&point) && found.is_none_or(|(length, _)| point.len() >= length) {
            found = Some((point.len(), kind));
        }
    }
    found.map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_decides() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\nhost:/x /srv/my\\040data nfs4 rw 0 0\ntmpfs /srv/my\\040data/ram tmpfs rw 0 0\n";
        let of = |folder: &str| kind(mounts, Path::new(folder));
        assert_eq!(of("/srv/my data/mandate"), Some("nfs4"));
        assert_eq!(of("/srv/my data/ram/x"), Some("tmpfs"));
        assert_eq!(of("/srv/my database"), Some("ext4"), "whole names, not beginnings of them");
        assert_eq!(kind("", Path::new("/")), None);
        assert!(refuse_network(&std::env::temp_dir()).is_ok());
    }
}
