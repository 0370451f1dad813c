//! The crate's one error enum, and what can be wrong with a published folder.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::visible::{Visible, visible_path};

/// Why storing or reading an artifact failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk is full or a quota is reached. The temporary file is removed and the old content kept.
    #[error(
        "no space left: could not {operation} {} ({source}); nothing was half-written. Free space on that disk, or choose another output folder.",
        visible_path(path)
    )]
    OutOfSpace {
        /// What was being done, as a verb: "write", "fsync".
        operation: &'static str,
        /// The file or folder it was done to.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// The operating system refused an operation.
    #[error(
        "could not {operation} {}: {source}. Check the path, its permissions and the disk.",
        visible_path(path)
    )]
    Io {
        /// What was being done, as a verb: "open", "rename".
        operation: &'static str,
        /// The file or folder it was done to.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },

    /// A published folder does not match its manifest.
    #[error(
        "{} is damaged: {}. Restore it from a copy, or delete the folder and make it again.",
        visible_path(folder),
        Damages(damage)
    )]
    Corrupt {
        /// The published folder.
        folder: PathBuf,
        /// Everything found wrong; never empty.
        damage: Vec<Damage>,
    },

    /// The folder has no manifest, so it was never published.
    #[error(
        "{} is not a published artifact: it has no manifest.json. Check the path; if writing it was interrupted, make it again.",
        visible_path(folder)
    )]
    Unpublished {
        /// The folder that was to be read.
        folder: PathBuf,
    },

    /// The folder is an artifact, but not one that this reader wants.
    #[error(
        "{} has {what} {}, but {expected} is needed. Point to the right folder, or make it again with this version.",
        visible_path(folder),
        Visible(found)
    )]
    Foreign {
        /// The published folder.
        folder: PathBuf,
        /// Which property differs: "kind", "schema version".
        what: &'static str,
        /// The value that was needed.
        expected: String,
        /// The value in the manifest.
        found: String,
    },

    /// A name or a file type that a published folder cannot hold.
    #[error("cannot publish {}: {reason}", visible_path(path))]
    Unpublishable {
        /// The offending path.
        path: PathBuf,
        /// The rule it breaks, and what to do.
        reason: &'static str,
    },

    /// The caller stopped the call; a folder that was being published is removed.
    #[error("stopped on request while {} was being read", path.display())]
    Stopped {
        /// The file that was being read.
        path: PathBuf,
    },

    /// A value could not be read as JSON.
    #[error("{what} is not valid JSON: {source}")]
    Json {
        /// What was being read.
        what: &'static str,
        /// Where and why the parser stopped.
        source: serde_json::Error,
    },
}

impl StorageError {
    /// Sorts an operating-system error into `OutOfSpace` or `Io`.
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::OutOfSpace {
                operation,
                path,
                source,
            },
            _ => Self::Io {
                operation,
                path,
                source,
            },
        }
    }

    /// One damage in one folder.
    pub(crate) fn corrupt(folder: &Path, damage: Damage) -> Self {
        Self::Corrupt {
            folder: folder.to_path_buf(),
            damage: vec![damage],
        }
    }
}

/// Attaches the operation and the path to an `io::Result`.
pub(crate) trait At<T> {
    /// `self`, or a `StorageError` that says what was being done to which path.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::io(operation, path, source))
    }
}

/// One way in which a published folder differs from its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A file of the manifest is not there.
    Missing {
        /// Name within the folder.
        name: String,
    },
    /// A file is shorter or longer than the manifest says.
    Resized {
        /// Name within the folder.
        name: String,
        /// Bytes in the manifest.
        expected_bytes: u64,
        /// Bytes on disk.
        found_bytes: u64,
    },
    /// A file has the right size and other content.
    Altered {
        /// Name within the folder.
        name: String,
        /// First byte of the first chunk that differs.
        chunk_offset: u64,
        /// Hash in the manifest.
        expected: String,
        /// Hash of the bytes on disk.
        found: String,
    },
    /// A file is there that the manifest does not list.
    Extra {
        /// Name within the folder.
        name: String,
    },
    /// The manifest itself was altered.
    Manifest {
        /// What is wrong with it.
        reason: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "{} is missing", Visible(name)),
            Self::Resized {
                name,
                expected_bytes,
                found_bytes,
            } => {
                write!(
                    f,
                    "{} has {found_bytes} bytes instead of {expected_bytes}",
                    Visible(name)
                )
            }
            Self::Altered {
                name,
                chunk_offset,
                expected,
                found,
            } => {
                write!(
                    f,
                    "{} is altered in the chunk at byte {chunk_offset}: expected {}, found {found}",
                    Visible(name),
                    Visible(expected)
                )
            }
            Self::Extra { name } => write!(f, "{} is not in the manifest", Visible(name)),
            Self::Manifest { reason } => write!(f, "manifest.json is altered: {}", Visible(reason)),
        }
    }
}

/// The first few damages of a list, and how many more there are.
struct Damages<'a>(&'a [Damage]);

impl fmt::Display for Damages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (index, damage) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{damage}", if index == 0 { "" } else { "; " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
