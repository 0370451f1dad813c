//! Every way in which curation can fail.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule of this name does not exist.
    #[error("there is no curation rule {name:?}; RULES lists them")]
    UnknownRule {
        /// As given.
        name: String,
    },
    /// A threshold that no value can be compared with.
    #[error("the threshold of {name} is {threshold}; it must be a number of 0 or more")]
    BadThreshold {
        /// The rule.
        name: String,
        /// As given.
        threshold: f64,
    },
    /// A text whose characters cannot be counted in 32 bits.
    #[error("a text has {bytes} bytes; the rules take at most 4,294,967,295. Split it")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// The automaton of the parts of C4 was not built.
    #[error("the automaton of the C4 rules could not be built; report this as a bug")]
    Automaton,
    /// A code of a language that the detector does not know.
    #[error(
        "{code:?} is no code of a language that can be detected; use one of ISO 639-1 or 639-3, as en or eng"
    )]
    UnknownLanguage {
        /// As given.
        code: String,
    },

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

impl Error {
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
pub type Result<T> = std::result::Result<T, Error>;
