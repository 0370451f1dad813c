//! The disk operations that the write protocol needs, and the real disk.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::regular::open_regular;

/// The kind of an entry of a folder. Symbolic links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// An ordinary file.
    File,
    /// A folder.
    Folder,
    /// A link, device, socket or pipe.
    Other,
}

/// An open file.
pub trait StorageFile: Send {
    /// Appends a prefix of `bytes` and says how long it was; may write fewer bytes, as `write(2)` may.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Makes the content durable. After an error the content is lost: the file must be abandoned.
    fn fsync(&mut self) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes from `offset`; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Length of the file in bytes.
    fn size_bytes(&self) -> io::Result<u64>;
}

/// A claim on a file or folder that the kernel frees when this value is dropped or its process dies.
pub type Hold = Box<dyn Send + Sync>;

/// Every operation of the write protocol, one system call each, so that a simulated disk can fail any of them.
pub trait Storage: Send + Sync {
    /// Creates a file that must not exist yet.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;
    /// Opens an existing file for reading and fsync.
    fn open_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;
    /// Creates a folder that must not exist yet; its parent must.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Renames a file (replacing the target) or a folder (whose target must be absent or empty).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Exchanges two names in one step. `Unsupported` or `InvalidInput` where the file system cannot.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;
    /// Removes a file or link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn fsync_folder(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn entries(&self, path: &Path) -> io::Result<Vec<(OsString, EntryKind)>>;
    /// What `path` is; `None` if there is nothing.
    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>>;
    /// Claims a file or folder. `WouldBlock` if another holds it, `NotFound` if it was removed meanwhile.
    fn hold(&self, path: &Path) -> io::Result<Hold>;
}

/// The operating system's own files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl StorageFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn fsync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Storage for RealDisk {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(
            OpenOptions::new().write(true).create_new(true).open(path)?,
        ))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        Ok(Box::new(open_regular(path)?))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    #[cfg(any(target_os = "linux", target_os = "macos"))]
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    fn exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn fsync_folder(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Some network and FUSE file systems have no fsync for folders: their names are durable when the call returns.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                ) =>
            {
                Ok(())
            }
            synced => synced,
        }
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<(OsString, EntryKind)>> {
        let mut entries = std::fs::read_dir(path)?
            .map(|entry| {
                entry.and_then(|entry| Ok((entry.file_name(), kind_of(entry.file_type()?))))
            })
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(entries)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        match std::fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(kind_of(metadata.file_type()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hold(&self, path: &Path) -> io::Result<Hold> {
        let file = File::open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // The cleaner may have removed the name between our open and our lock.
        if file.metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(file))
    }
}

fn kind_of(file_type: std::fs::FileType) -> EntryKind {
    if file_type.is_file() {
        EntryKind::File
    } else if file_type.is_dir() {
        EntryKind::Folder
    } else {
        EntryKind::Other
    }
}
