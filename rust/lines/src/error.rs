//! Every way in which reading lines can fail.

use std::io;
use std::path::PathBuf;

use crate::compression::Compression;

/// What happened, the values, what to do.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The file does not exist.
    #[error("{} does not exist. Check the path.", path.display())]
    Missing {
        /// Its path.
        path: PathBuf,
        /// The error number of the operating system.
        code: i32,
    },

    /// The path leads to something other than a regular file.
    #[error("{} is {kind}, not a regular file. Give the path of a file.", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },

    /// The file cannot be opened.
    #[error("cannot open {} ({source}). Check the path and its permissions.", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The file cannot be read.
    #[error("cannot read {}: {source}. Check the disk.", path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// A compressed file is truncated or damaged.
    #[error(
        "{} is not a whole {} file: {reason}. Fetch or write it again.",
        path.display(),
        compression.name()
    )]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// Its format.
        compression: Compression,
        /// What the decoder found.
        reason: String,
    },

    /// A compressed file unpacks to more than text does.
    #[error(
        "{} unpacks to over {} bytes from {}: text does not shrink that far. If the file is what you want, \
         unpack it first.",
        path.display(),
        grouped(*unpacked),
        grouped(*packed)
    )]
    Expanded {
        /// Its path.
        path: PathBuf,
        /// Bytes unpacked so far.
        unpacked: u64,
        /// Bytes they were unpacked from.
        packed: u64,
    },

    /// A stream is not one JSON array.
    #[error(
        "line {line} (byte {byte_offset}): the file {problem}. A list of records is \"[\", objects with commas between, \"]\"."
    )]
    NotAnArray {
        /// The line, from 1.
        line: u64,
        /// The byte, from 0.
        byte_offset: u64,
        /// What is wrong.
        problem: &'static str,
    },

    /// A stream that is not a [`TextFile`](crate::TextFile) failed.
    #[error(transparent)]
    Stream(io::Error),

    /// The caller's `should_continue` was false.
    #[error("reading was stopped")]
    Stopped,
}

impl LinesError {
    /// The error as a `Read` implementation returns it; [`From`] gives it back.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

impl From<io::Error> for LinesError {
    fn from(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Stream)
    }
}

/// A number with commas between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_in_groups_of_three() {
        let shown = [0, 999, 1_000, 12_345_678].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "12,345,678"]);
    }
}
