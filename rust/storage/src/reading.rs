//! Reading files and listing folders in bounded memory; what publishing, manifests and verification share.

use std::io::Read;
use std::path::Path;

use crate::disk::{EntryKind, Storage, StorageFile};
use crate::error::{At, StorageError};
use crate::hash::{FileHasher, FileRecord};
use crate::regular::open_regular;

/// Bytes per read.
const READ_BYTES: usize = 1 << 20;

/// Passes every byte of `file` to `see`, in order; ends with `Stopped` when `should_continue`, called before each read, is false.
///
/// Positioned reads: a file that shrinks meanwhile is short, not a SIGBUS.
pub(crate) fn read_through(
    file: &dyn StorageFile,
    path: &Path,
    should_continue: &dyn Fn() -> bool,
    mut see: impl FnMut(&[u8]),
) -> Result<(), StorageError> {
    let size = file.size_bytes().at("look at", path)?;
    let mut buffer = vec![0; READ_BYTES.min(size as usize + 1)];
    let mut offset = 0;
    loop {
        if !should_continue() {
            let path = path.to_path_buf();
            return Err(StorageError::Stopped { path });
        }
        match file.read_at(&mut buffer, offset) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                see(&buffer[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at("read", path),
        }
    }
}

/// Size and hashes of a user's file, which no manifest lists.
///
/// # Errors
/// `Io` for what is no regular file or cannot be read; `Stopped` where `should_continue` is false.
pub fn hash_file(
    path: &Path,
    should_continue: &dyn Fn() -> bool,
) -> Result<FileRecord, StorageError> {
    let mut file = open_regular(path).at("open", path)?;
    let mut hasher = FileHasher::default();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        if !should_continue() {
            let path = path.to_path_buf();
            return Err(StorageError::Stopped { path });
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at("read", path),
        }
    }
}

/// Names of the files and of the folders below `folder`, with `/` between the parts, sorted within each folder.
pub(crate) fn files_below(
    disk: &dyn Storage,
    folder: &Path,
) -> Result<(Vec<String>, Vec<String>), StorageError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let mut waiting = vec![String::new()];
    while let Some(prefix) = waiting.pop() {
        let inside = folder.join(&prefix);
        for (entry, kind) in disk.entries(&inside).at("list", &inside)? {
            let path = inside.join(&entry);
            refuse_special(&path, kind)?;
            let reason = "its name is not UTF-8; rename it";
            let part = entry
                .to_str()
                .ok_or(StorageError::Unpublishable { path, reason })?;
            let name = if prefix.is_empty() {
                part.to_string()
            } else {
                format!("{prefix}/{part}")
            };
            match kind {
                EntryKind::Folder => {
                    folders.push(name.clone());
                    waiting.push(name);
                }
                _ => files.push(name),
            }
        }
    }
    Ok((files, folders))
}

/// A published folder holds files and folders only.
fn refuse_special(path: &Path, kind: EntryKind) -> Result<(), StorageError> {
    match kind {
        EntryKind::Other => Err(StorageError::Unpublishable {
            path: path.to_path_buf(),
            reason: "a published folder holds ordinary files and folders only; copy the link's target instead",
        }),
        EntryKind::File | EntryKind::Folder => Ok(()),
    }
}
