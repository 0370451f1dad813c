//! Publications that the fault tests interrupt: something old (or nothing) is replaced by something new.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses a part

use std::path::{Path, PathBuf};

use stategpt_storage::simulated::{Abilities, SimulatedDisk};
use stategpt_storage::{
    Label, Storage, StorageError, StorageFile, publish_bytes, publish_folder, verify_folder,
};

/// What is under the final name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Nothing,
    Old,
    New,
    Broken(String),
}

/// One publication.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub is_folder: bool,
    pub replaces: bool,
    pub can_exchange: bool,
}

/// Every publication worth interrupting.
pub const ALL: [Scenario; 5] = [
    Scenario {
        is_folder: false,
        replaces: false,
        can_exchange: true,
    },
    Scenario {
        is_folder: false,
        replaces: true,
        can_exchange: true,
    },
    Scenario {
        is_folder: true,
        replaces: false,
        can_exchange: true,
    },
    Scenario {
        is_folder: true,
        replaces: true,
        can_exchange: true,
    },
    Scenario {
        is_folder: true,
        replaces: true,
        can_exchange: false,
    },
];

/// Three sectors and a bit, so that a write can tear in several ways.
const OLD: [u8; 1700] = [b'o'; 1700];
const NEW: [u8; 1900] = [b'n'; 1900];

impl Scenario {
    /// A simulated disk with the old content, durable.
    pub fn disk(&self, abilities: Abilities) -> SimulatedDisk {
        let disk = SimulatedDisk::new(Abilities {
            exchange: self.can_exchange,
            ..abilities
        });
        self.prepare(&disk, Path::new("/")).unwrap();
        disk
    }

    /// Publishes the old content below `root`, if this scenario replaces anything.
    pub fn prepare(&self, disk: &dyn Storage, root: &Path) -> Result<(), StorageError> {
        if !self.replaces {
            return Ok(());
        }
        // Twice, so that the removal of what was replaced is still on its way to the disk.
        self.write(disk, root, "older", &OLD)?;
        self.write(disk, root, "old", &OLD)
    }

    /// Publishes the new content below `root`.
    pub fn publish(&self, disk: &dyn Storage, root: &Path) -> Result<(), StorageError> {
        self.write(disk, root, "new", &NEW)
    }

    fn target(&self, root: &Path) -> PathBuf {
        // Two folders that do not exist yet, so that their durability is tested too.
        root.join("run/stage")
            .join(if self.is_folder { "folder" } else { "file.bin" })
    }

    fn write(
        &self,
        disk: &dyn Storage,
        root: &Path,
        kind: &str,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        if !self.is_folder {
            return publish_bytes(disk, &self.target(root), bytes).map(drop);
        }
        publish_folder(disk, &self.target(root), |folder| {
            folder.write_file("native.bin", |file| file.write_all(bytes))?;
            folder.write_file(&format!("{kind}/nested.bin"), |file| {
                file.write_all(&bytes[..600])
            })?;
            write_like_python(disk, &folder.path().join("foreign.bin"), bytes)?;
            Ok(Label {
                kind: kind.into(),
                ..Label::default()
            })
        })
        .map(drop)
    }

    /// What a reader finds below `root`.
    pub fn content(&self, disk: &dyn Storage, root: &Path) -> Content {
        let found = if self.is_folder {
            self.folder_kind(disk, root)
        } else {
            self.file_kind(disk, root)
        };
        found.unwrap_or_else(|error| Content::Broken(error.to_string()))
    }

    fn folder_kind(&self, disk: &dyn Storage, root: &Path) -> Result<Content, StorageError> {
        let target = self.target(root);
        let found = verify_folder(disk, &target, None);
        if matches!(found, Err(StorageError::Unpublished { .. }))
            && disk.kind(&target).unwrap().is_none()
        {
            return Ok(Content::Nothing);
        }
        Ok(match found?.kind.as_str() {
            "old" => Content::Old,
            "new" => Content::New,
            other => Content::Broken(other.to_string()),
        })
    }

    fn file_kind(&self, disk: &dyn Storage, root: &Path) -> Result<Content, StorageError> {
        let target = self.target(root);
        if disk.kind(&target).unwrap().is_none() {
            return Ok(Content::Nothing);
        }
        let file = disk.open_file(&target).unwrap();
        let bytes = read_whole(file.as_ref());
        Ok(match bytes {
            bytes if bytes == OLD => Content::Old,
            bytes if bytes == NEW => Content::New,
            bytes => Content::Broken(format!("{} bytes", bytes.len())),
        })
    }

    /// What was there before, and so may be there after a failure.
    pub fn before(&self) -> Content {
        if self.replaces {
            Content::Old
        } else {
            Content::Nothing
        }
    }

    /// Names beside the target that a publisher left behind.
    pub fn leftovers(&self, disk: &dyn Storage, root: &Path) -> Vec<String> {
        let target = self.target(root);
        let names = disk.entries(target.parent().unwrap()).unwrap_or_default();
        names
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| name != target.file_name().unwrap())
            .map(|name| name.into_string().unwrap())
            .collect()
    }
}

/// An empty folder, in memory where the system has such a place: thousands of fsyncs are slow elsewhere.
pub fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// A file of the folder that does not pass through our writer and is not fsynced by its own.
fn write_like_python(disk: &dyn Storage, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let write = || {
        let mut file = disk.create_file(path)?;
        let mut written = 0;
        while written < bytes.len() {
            written += file.write(&bytes[written..])?;
        }
        Ok(())
    };
    write().map_err(|error| StorageError::io("write", path, error))
}

fn read_whole(file: &dyn StorageFile) -> Vec<u8> {
    let mut bytes = vec![0; file.size_bytes().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}
