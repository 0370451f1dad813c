//! One `.npy` file that grows at its end while a shard is written.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use stategpt_storage::StorageError;

use super::npy::{Dtype, HEADER_BYTES, header};

const BUFFER_BYTES: usize = 1 << 18;
/// Elements converted at a time: a part that fits the buffer, whatever the width.
const PART: usize = BUFFER_BYTES / 8;

/// A column of numbers on its way to disk. Memory: one buffer, however long it gets.
pub struct Column {
    path: PathBuf,
    file: File,
    buffer: Vec<u8>,
    dtype: Dtype,
    count: u64,
}

impl Column {
    /// An empty column at `path`, which must not exist.
    pub fn create(path: PathBuf, dtype: Dtype) -> Result<Self, StorageError> {
        let file =
            File::create_new(&path).map_err(|error| StorageError::io("create", &path, error))?;
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        // The count is known at the end; until then the header's place is kept.
        buffer.resize(HEADER_BYTES, 0);
        Ok(Self {
            path,
            file,
            buffer,
            dtype,
            count: 0,
        })
    }

    /// Appends one element given by its little-endian bytes, cut to the column's width.
    ///
    /// Callers check that the value fits; the width is a power of two bytes of at most eight.
    pub fn push(&mut self, value: u64) -> Result<(), StorageError> {
        let room = self.room(1)?;
        room.copy_from_slice(&value.to_le_bytes()[..room.len()]);
        Ok(())
    }

    /// Appends `count` times `value`.
    pub fn repeat(&mut self, value: u64, count: u64) -> Result<(), StorageError> {
        (0..count).try_for_each(|_| self.push(value))
    }

    /// Appends values that are known to fit a column of bytes.
    pub fn extend_bytes(&mut self, values: &[u8]) -> Result<(), StorageError> {
        for part in values.chunks(PART) {
            self.room(part.len())?.copy_from_slice(part);
        }
        Ok(())
    }

    /// Appends ids that are known to fit a column of two or four bytes.
    pub fn extend_ids(&mut self, ids: &[u32]) -> Result<(), StorageError> {
        let is_narrow = self.dtype == Dtype::U16;
        for part in ids.chunks(PART) {
            let room = self.room(part.len())?;
            if is_narrow {
                for (place, id) in room.chunks_exact_mut(2).zip(part) {
                    place.copy_from_slice(&(*id as u16).to_le_bytes());
                }
            } else {
                for (place, id) in room.chunks_exact_mut(4).zip(part) {
                    place.copy_from_slice(&id.to_le_bytes());
                }
            }
        }
        Ok(())
    }

    /// Room in the buffer for `count` more elements, at most [`PART`].
    fn room(&mut self, count: usize) -> Result<&mut [u8], StorageError> {
        let start = self.buffer.len();
        let bytes = count * self.dtype.bytes();
        let start = if start + bytes > BUFFER_BYTES {
            self.flush()?;
            0
        } else {
            start
        };
        self.count += count as u64;
        self.buffer.resize(start + bytes, 0);
        Ok(&mut self.buffer[start..])
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        self.file
            .write_all(&self.buffer)
            .map_err(|error| io_error(&self.path, error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is buffered and the header. Durability is the publisher's.
    pub fn finish(mut self) -> Result<(), StorageError> {
        self.flush()?;
        self.file
            .write_all_at(&header(self.dtype, self.count), 0)
            .map_err(|error| io_error(&self.path, error))
    }
}

fn io_error(path: &Path, error: std::io::Error) -> StorageError {
    StorageError::io("write", path, error)
}
