//! A regular file as a stream of unpacked bytes.

use std::fmt;
use std::fs;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use stategpt_storage::open_regular;

use crate::compression::{Compression, Decoder};
use crate::error::LinesError;
use crate::expansion::Expansion;
use crate::input::Input;

/// Bytes per read of the disk.
const PACKED_BUFFER_BYTES: usize = 64 << 10;
/// Unpacked bytes held for a reader of lines.
const BUFFER_BYTES: usize = 1 << 20;

/// The bytes of a regular file, unpacked if its name ends in `.gz` or `.zst`.
pub struct TextFile {
    path: PathBuf,
    compression: Compression,
    decoder: Decoder,
    expansion: Expansion,
    unpacked: u64,
}

impl TextFile {
    /// Opens the file; never waits for a FIFO's writer.
    ///
    /// # Errors
    /// `Missing`, `NotRegular` for a folder, FIFO, socket or device, `Open` for anything else.
    pub fn open(path: &Path, expansion: Expansion) -> Result<Self, LinesError> {
        let file = open_regular(path).map_err(|error| cannot_open(path, error))?;
        let compression = Compression::of(path);
        let source = BufReader::with_capacity(PACKED_BUFFER_BYTES, Input::new(file));
        Ok(Self {
            path: path.to_path_buf(),
            compression,
            decoder: Decoder::new(compression, source),
            expansion,
            unpacked: 0,
        })
    }

    /// The file with a buffer in front of it, as [`LineReader`](crate::LineReader) needs.
    pub fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(BUFFER_BYTES, self)
    }

    /// Up to `buffer.len()` bytes; 0 at the end.
    ///
    /// # Errors
    /// `Damaged` and `Expanded` for a compressed file, `Read` where the disk fails.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, LinesError> {
        let read = match self.decoder.read(buffer) {
            Ok(read) => read,
            Err(error) => return Err(self.failure(&error)),
        };
        self.unpacked += read as u64;
        if self.compression == Compression::Plain {
            return Ok(read);
        }
        let packed = self.decoder.consumed();
        if self.expansion.allows(self.unpacked, packed) {
            return Ok(read);
        }
        Err(LinesError::Expanded {
            path: self.path.clone(),
            unpacked: self.unpacked,
            packed,
        })
    }

    fn failure(&mut self, error: &io::Error) -> LinesError {
        let path = self.path.clone();
        match self.decoder.take_failure() {
            Some(source) => LinesError::Read { path, source },
            None => LinesError::Damaged {
                path,
                compression: self.compression,
                reason: error.to_string(),
            },
        }
    }
}

impl Read for TextFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(LinesError::into_io)
    }
}

impl fmt::Debug for TextFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextFile")
            .field("path", &self.path)
            .field("compression", &self.compression)
            .field("unpacked", &self.unpacked)
            .finish_non_exhaustive()
    }
}

fn cannot_open(path: &Path, source: io::Error) -> LinesError {
    let path = path.to_path_buf();
    if source.kind() == io::ErrorKind::NotFound {
        let code = source.raw_os_error().unwrap_or_default();
        return LinesError::Missing { path, code };
    }
    match fs::metadata(&path) {
        Ok(found) if !found.is_file() => LinesError::NotRegular {
            kind: kind(found.file_type()),
            path,
        },
        _ => LinesError::Open { path, source },
    }
}

fn kind(found: fs::FileType) -> &'static str {
    if found.is_dir() {
        "a folder"
    } else if found.is_fifo() {
        "a FIFO"
    } else if found.is_socket() {
        "a socket"
    } else if found.is_char_device() {
        "a character device"
    } else if found.is_block_device() {
        "a block device"
    } else {
        "a special file"
    }
}
