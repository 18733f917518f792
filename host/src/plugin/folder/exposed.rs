//! Whether somebody else may put plugins into the folder: who can, decides about every message.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A warning, if everybody may write the folder or somebody else owns it. Nothing is said of a folder that is not
/// there. A group that may write it is taken for the deployers.
pub fn exposed(folder: &Path) -> Option<String> {
    let metadata = std::fs::metadata(folder).ok()?;
    let us = rustix::process::geteuid().as_raw();
    judge(metadata.mode(), metadata.uid(), us)
}

fn judge(mode: u32, owner: u32, us: u32) -> Option<String> {
    if mode & 0o002 != 0 {
        return Some(format!(
            "everybody on this machine may put plugins into the plugins folder (mode {:03o}): `chmod o-w` it, or demand signatures ([trust] require_signatures)",
            mode & 0o777
        ));
    }
    if owner != us && owner != 0 {
        return Some(format!(
            "the plugins folder belongs to user {owner}, who is neither root nor the user that runs weir ({us}): `chown` it, or demand signatures ([trust] require_signatures)"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_fill_is_told() {
        assert_eq!(judge(0o755, 1_000, 1_000), None);
        assert_eq!(judge(0o775, 0, 1_000), None);
        assert!(judge(0o1777, 0, 0).unwrap().contains("mode 777"));
        assert!(judge(0o755, 1_001, 1_000).unwrap().contains("belongs to user 1001"));
        assert!(judge(0o755, 1_001, 0).unwrap().contains("belongs to user 1001"));
    }
}
