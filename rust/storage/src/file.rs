//! Publishing one file.

use std::path::{Path, PathBuf};

use crate::disk::{Storage, StorageFile};
use crate::error::{At, StorageError};
use crate::hash::{FileHasher, FileRecord};
use crate::staging::{claim, create_durable_folders, recover, split};

/// Bytes gathered before they are handed to the disk.
const BUFFER_BYTES: usize = 256 << 10;

/// A file that is being written: buffered, hashed as it goes, made durable by `finish`.
///
/// ```
/// # fn main() -> Result<(), stategpt_storage::StorageError> {
/// # let folder = std::env::temp_dir().join(format!("stategpt-doc-{}", std::process::id()));
/// use stategpt_storage::{RealDisk, publish_file};
/// let record = publish_file(&RealDisk, &folder.join("greeting.txt"), |file| file.write_all(b"hello\n"))?;
/// assert_eq!(record.size, 6);
/// # std::fs::remove_dir_all(&folder).ok();
/// # Ok(()) }
/// ```
pub struct FileWriter {
    path: PathBuf,
    file: Box<dyn StorageFile>,
    buffer: Vec<u8>,
    hasher: FileHasher,
}

impl FileWriter {
    pub(crate) fn new(path: PathBuf, file: Box<dyn StorageFile>) -> Self {
        Self {
            path,
            file,
            buffer: Vec::new(),
            hasher: FileHasher::default(),
        }
    }

    /// Appends `bytes`.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.hasher.update(bytes);
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            return write_fully(self.file.as_mut(), bytes, &self.path);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        write_fully(self.file.as_mut(), &self.buffer, &self.path)?;
        self.buffer.clear();
        Ok(())
    }

    /// Flushes and fsyncs; the content is durable, its name not yet.
    pub(crate) fn finish(mut self) -> Result<FileRecord, StorageError> {
        self.flush()?;
        self.file.fsync().at("fsync", &self.path)?;
        Ok(self.hasher.finish())
    }
}

/// Writes all of `bytes`, through short writes and interrupted calls.
fn write_fully(
    file: &mut dyn StorageFile,
    mut bytes: &[u8],
    path: &Path,
) -> Result<(), StorageError> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => {
                return Err(std::io::Error::from(std::io::ErrorKind::WriteZero)).at("write", path);
            }
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at("write", path),
        }
    }
    Ok(())
}

/// Publishes one file: after an error or a crash `path` holds the old content or the new, never a part.
///
/// `write` gets a temporary file beside `path`; missing folders are created. Returns size and hashes of what was written.
pub fn publish_file<E: From<StorageError>>(
    disk: &dyn Storage,
    path: &Path,
    write: impl FnOnce(&mut FileWriter) -> Result<(), E>,
) -> Result<FileRecord, E> {
    let (parent, _) = split(path)?;
    create_durable_folders(disk, parent)?;
    recover(disk, path)?;
    let (claimed, file) = claim(disk, path, |temporary| disk.create_file(temporary))?;
    let mut writer = FileWriter::new(claimed.path.clone(), file);
    let published = write(&mut writer)
        .and_then(|()| Ok(writer.finish()?))
        .and_then(|record| {
            Ok(disk
                .rename(&claimed.path, path)
                .at("rename", path)
                .map(|()| record)?)
        });
    match published {
        Ok(record) => {
            disk.fsync_folder(parent).at("fsync", parent)?;
            Ok(record)
        }
        Err(error) => {
            // Best effort: the first error is the one to report.
            let _ = disk.remove_file(&claimed.path);
            Err(error)
        }
    }
}

/// Publishes `bytes` as one file; see `publish_file`.
pub fn publish_bytes(
    disk: &dyn Storage,
    path: &Path,
    bytes: &[u8],
) -> Result<FileRecord, StorageError> {
    publish_file(disk, path, |file| file.write_all(bytes))
}
