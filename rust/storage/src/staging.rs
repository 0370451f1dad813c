//! Temporary names beside their target: how they are made, claimed, and cleaned after a crash.
//!
//! A temporary entry for `NAME` is `.NAME.staged-PID-N`, claimed by its writer for as long as it lives. The kernel frees
//! a claim when the process dies, so an unclaimed leftover has no owner and the next publisher of `NAME` removes it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{EntryKind, Hold, Storage};
use crate::error::{At, StorageError};

/// Marks what is being written, or the old content that an exchange has put there.
const STAGED: &str = "staged";
/// Marks the old folder while a file system without exchange is between two renames.
const ASIDE: &str = "aside";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A temporary entry of this process, and its claim.
pub(crate) struct Claimed {
    /// Where it is.
    pub path: PathBuf,
    /// Kept until the entry is renamed or removed.
    pub hold: Option<Hold>,
}

/// The folder that holds `path`, and its last part.
pub(crate) fn split(path: &Path) -> Result<(&Path, &OsStr), StorageError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => Ok((Path::new("."), name)),
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(StorageError::Unpublishable {
            path: path.to_path_buf(),
            reason: "the path does not end in a name",
        }),
    }
}

/// Makes one temporary entry for `target` with `create` and claims it.
pub(crate) fn claim<T>(
    disk: &dyn Storage,
    target: &Path,
    create: impl Fn(&Path) -> io::Result<T>,
) -> Result<(Claimed, T), StorageError> {
    loop {
        let path = temporary_name(target, STAGED)?;
        let made = match create(&path) {
            // Another process with our number (in its own process namespace) or a leftover has this name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made.at("create", &path)?,
        };
        match disk.hold(&path) {
            Ok(hold) => {
                return Ok((
                    Claimed {
                        path,
                        hold: Some(hold),
                    },
                    made,
                ));
            }
            // A cleaner saw the entry before we claimed it, and is removing it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::NotFound
                ) =>
            {
                continue;
            }
            // A file system without locks: continue; no cleaner can claim the entry either.
            Err(_) => return Ok((Claimed { path, hold: None }, made)),
        }
    }
}

/// A name for the old folder of `target`, on file systems that cannot exchange two names.
pub(crate) fn aside_name(target: &Path) -> Result<PathBuf, StorageError> {
    temporary_name(target, ASIDE)
}

fn temporary_name(target: &Path, mark: &str) -> Result<PathBuf, StorageError> {
    let (parent, name) = split(target)?;
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut temporary = prefix(name, mark);
    temporary.push(format!("{}-{number}", std::process::id()));
    Ok(parent.join(temporary))
}

fn prefix(name: &OsStr, mark: &str) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(format!(".{mark}-"));
    prefix
}

/// Brings `target` back from a crash: an interrupted two-rename replacement is undone, unclaimed leftovers are removed.
pub(crate) fn recover(disk: &dyn Storage, target: &Path) -> Result<(), StorageError> {
    let (parent, name) = split(target)?;
    let entries = disk.entries(parent).unwrap_or_default();
    let named = |mark| {
        let found = entries
            .iter()
            .filter(move |(entry, _)| is_temporary(entry, name, mark));
        found.map(|(entry, _)| parent.join(entry))
    };
    let mut leftovers: Vec<PathBuf> = named(STAGED).collect();
    for old in named(ASIDE).filter(|old| disk.hold(old).is_ok()) {
        match disk.kind(target).at("look at", target)? {
            None => disk.rename(&old, target).at("restore", target)?,
            Some(_) => leftovers.push(discard_aside(disk, target, &old)?),
        }
    }
    if leftovers.is_empty() {
        return Ok(());
    }
    // A leftover may be the old content of an exchange that is not durable yet. If it were emptied now and power failed,
    // the exchange could be undone and the final name would name the emptied folder.
    disk.fsync_folder(parent).at("fsync", parent)?;
    for path in leftovers {
        if let Ok(_claim) = disk.hold(&path) {
            remove_tree(disk, &path);
        }
    }
    Ok(())
}

/// Renames an old folder that is not needed any more, so that it is not restored once it is half removed.
fn discard_aside(disk: &dyn Storage, target: &Path, old: &Path) -> Result<PathBuf, StorageError> {
    let discarded = temporary_name(target, STAGED)?;
    disk.rename(old, &discarded).at("rename", old)?;
    Ok(discarded)
}

fn is_temporary(entry: &OsStr, name: &OsStr, mark: &str) -> bool {
    let prefix = prefix(name, mark);
    let rest = entry
        .as_encoded_bytes()
        .strip_prefix(prefix.as_encoded_bytes());
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'-')
    })
}

/// Removes a file or a folder with its content, as far as the disk lets it.
pub(crate) fn remove_tree(disk: &dyn Storage, path: &Path) {
    if let Ok(Some(EntryKind::Folder)) = disk.kind(path) {
        for (name, _) in disk.entries(path).unwrap_or_default() {
            remove_tree(disk, &path.join(name));
        }
        // What cannot be removed stays for the next publisher to clean.
        let _ = disk.remove_folder(path);
    } else {
        let _ = disk.remove_file(path);
    }
}

/// Creates `folder` and its ancestors as needed.
pub(crate) fn create_folders(disk: &dyn Storage, folder: &Path) -> Result<(), StorageError> {
    if disk.kind(folder).at("look at", folder)?.is_some() {
        return Ok(());
    }
    create_folders(disk, split(folder)?.0)?;
    match disk.create_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.at("create", folder),
    }
}

/// Creates `folder` and its ancestors as needed and makes their names durable, also of existing ones: what
/// created them (a killed publisher, Python's `mkdir`) may not have. Ancestors that we may not open are left as they are.
pub(crate) fn create_durable_folders(
    disk: &dyn Storage,
    folder: &Path,
) -> Result<(), StorageError> {
    create_folders(disk, folder)?;
    let above = folder.ancestors().skip(1).map(|above| {
        if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        }
    });
    for parent in above {
        match disk.fsync_folder(parent) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced.at("fsync", parent)?,
        }
    }
    Ok(())
}
