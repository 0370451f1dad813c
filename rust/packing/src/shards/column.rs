//! One `.npy` file that grows at its end while a shard is written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use stategpt_storage::StorageError;

use super::npy::{Dtype, HEADER_BYTES, header};

const BUFFER_BYTES: usize = 1 << 18;

/// A column of numbers on its way to disk. Memory: one buffer, however long it gets.
pub struct Column {
    path: PathBuf,
    file: BufWriter<File>,
    dtype: Dtype,
    count: u64,
}

impl Column {
    /// An empty column at `path`, which must not exist.
    pub fn create(path: PathBuf, dtype: Dtype) -> Result<Self, StorageError> {
        let file =
            File::create_new(&path).map_err(|error| StorageError::io("create", &path, error))?;
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file);
        // The count is known at the end; until then the header's place is kept.
        file.write_all(&[0; HEADER_BYTES])
            .map_err(|error| StorageError::io("write", &path, error))?;
        Ok(Self {
            path,
            file,
            dtype,
            count: 0,
        })
    }

    /// Appends one element given by its little-endian bytes, cut to the column's width.
    ///
    /// Callers check that the value fits; the width is a power of two bytes of at most eight.
    pub fn push(&mut self, value: u64) -> Result<(), StorageError> {
        self.count += 1;
        let bytes = value.to_le_bytes();
        self.file
            .write_all(&bytes[..self.dtype.bytes()])
            .map_err(|error| io_error(&self.path, error))
    }

    /// Appends `count` times `value`.
    pub fn repeat(&mut self, value: u64, count: u64) -> Result<(), StorageError> {
        (0..count).try_for_each(|_| self.push(value))
    }

    /// Appends values that are known to fit.
    pub fn extend(&mut self, values: impl IntoIterator<Item = u64>) -> Result<(), StorageError> {
        values.into_iter().try_for_each(|value| self.push(value))
    }

    /// Writes what is buffered and the header. Durability is the publisher's.
    pub fn finish(self) -> Result<(), StorageError> {
        let Self {
            path,
            file,
            dtype,
            count,
        } = self;
        let file = file
            .into_inner()
            .map_err(|error| io_error(&path, error.into_error()))?;
        file.write_all_at(&header(dtype, count), 0)
            .map_err(|error| io_error(&path, error))
    }
}

fn io_error(path: &Path, error: std::io::Error) -> StorageError {
    StorageError::io("write", path, error)
}
