//! The bytes of a file as they are on the disk.

use std::fs::File;
use std::io::{self, Read};

/// Counts what is read and keeps the disk's error, which a decoder may replace.
#[derive(Debug)]
pub(crate) struct Input {
    file: File,
    bytes: u64,
    failure: Option<io::Error>,
}

impl Input {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            bytes: 0,
            failure: None,
        }
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The last error of the disk.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Ok(read) => {
                    self.bytes += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    self.failure = Some(error);
                    return Err(kind.into());
                }
            }
        }
    }
}
