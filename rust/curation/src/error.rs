//! Every way in which curation can fail.

use std::io;
use std::path::{Path, PathBuf};

/// What happened, the values, what to do.
#[derive(Debug, thiserror::Error)]
pub enum CurationError {
    /// The disk of the temporary files is full, or a quota or limit is reached.
    #[error(
        "no space for temporary files in {} after {written} bytes ({source}). Free space there, or name a folder on \
         another disk.",
        folder.display()
    )]
    OutOfSpace {
        /// Folder of the temporary files.
        folder: PathBuf,
        /// Bytes that this file had.
        written: u64,
        /// What the operating system said.
        source: io::Error,
    },

    /// A temporary file cannot be made, written or read.
    #[error("cannot {what} a temporary file in {} ({source}). Check the folder and its permissions.", folder.display())]
    Temporary {
        /// `create`, `write`, `read`.
        what: &'static str,
        /// Folder of the temporary files.
        folder: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A temporary file no longer holds what was written to it.
    #[error(
        "a temporary file in {} was altered: its bytes from {offset} do not match their checksum. Check the disk and \
         run again.",
        folder.display()
    )]
    Damaged {
        /// Folder of the temporary files.
        folder: PathBuf,
        /// First byte of the damaged block.
        offset: u64,
    },

    /// The second pass over the documents is not equal to the first.
    #[error(
        "document {document} (from 0) differs between the two passes: {reason}. Do not change the input while it is \
         read, and give an iterable whose order is fixed."
    )]
    Changed {
        /// Its number in the input.
        document: u64,
        /// What differs.
        reason: &'static str,
    },

    /// A setting is out of range.
    #[error("{name} is {value}; {rule}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// The value given.
        value: String,
        /// What it must be.
        rule: &'static str,
    },

    /// A method was called too early or too late.
    #[error("{what} after the documents were compared; make another finder")]
    Closed {
        /// What was called.
        what: &'static str,
    },

    /// More documents than can be numbered.
    #[error("more than {limit} documents; split the input")]
    TooMany {
        /// The limit.
        limit: u64,
    },

    /// A signal ended the work.
    #[error("stopped by a signal")]
    Stopped,
}

impl CurationError {
    /// The error of an operation on a temporary file that has `written` bytes.
    pub(crate) fn temporary(
        what: &'static str,
        folder: &Path,
        written: u64,
        source: io::Error,
    ) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        let folder = folder.to_owned();
        match source.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::OutOfSpace {
                folder,
                written,
                source,
            },
            _ => Self::Temporary {
                what,
                folder,
                source,
            },
        }
    }
}

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, CurationError>;
