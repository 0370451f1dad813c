//! A disk that fails at a chosen operation.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{EntryKind, Hold, Storage, StorageFile};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation does nothing and returns this operating-system error.
    Error(i32),
    /// A write takes half of its bytes and then returns this operating-system error; others as `Error`.
    Torn(i32),
    /// A write takes half of its bytes and succeeds, a read gives at most one byte, others are unharmed.
    Short,
    /// This operation and all that follow fail with this error: the disk is gone.
    Dead(i32),
}

/// One requested operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Name of the `Storage` or `StorageFile` method.
    pub name: &'static str,
    /// The path of the request; the file's path for operations on an open file.
    pub path: PathBuf,
}

/// Passes everything to another disk, except that operation number `at` meets with a fault.
pub struct FailingDisk<D> {
    disk: D,
    script: Script,
}

#[derive(Clone)]
struct Script {
    fault: Option<(usize, Fault)>,
    log: Arc<Mutex<Vec<Operation>>>,
}

impl<D: Storage> FailingDisk<D> {
    /// A disk whose operation number `at`, counted from 0, meets with `fault`.
    pub fn new(disk: D, at: usize, fault: Fault) -> Self {
        Self {
            disk,
            script: Script {
                fault: Some((at, fault)),
                log: Arc::default(),
            },
        }
    }

    /// A disk that only counts.
    pub fn counting(disk: D) -> Self {
        Self {
            disk,
            script: Script {
                fault: None,
                log: Arc::default(),
            },
        }
    }

    /// All requests so far, the failed operation included.
    pub fn log(&self) -> Vec<Operation> {
        self.script.lock().clone()
    }

    /// The wrapped disk.
    pub fn inner(&self) -> &D {
        &self.disk
    }
}

impl Script {
    fn lock(&self) -> MutexGuard<'_, Vec<Operation>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs an operation; its fault, if this is the one.
    fn next(&self, name: &'static str, path: &Path) -> Option<Fault> {
        let mut log = self.lock();
        let number = log.len();
        log.push(Operation {
            name,
            path: path.to_path_buf(),
        });
        self.fault.and_then(|(at, fault)| match fault {
            Fault::Dead(_) => (number >= at).then_some(fault),
            _ => (number == at).then_some(fault),
        })
    }

    /// For operations that cannot be done by halves.
    fn pass(&self, name: &'static str, path: &Path) -> io::Result<()> {
        match self.next(name, path) {
            Some(Fault::Error(code) | Fault::Torn(code) | Fault::Dead(code)) => {
                Err(io::Error::from_raw_os_error(code))
            }
            Some(Fault::Short) | None => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(FailingFile {
            file,
            path: path.to_path_buf(),
            script: self.clone(),
        })
    }
}

struct FailingFile {
    file: Box<dyn StorageFile>,
    path: PathBuf,
    script: Script,
}

impl StorageFile for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.script.next("write", &self.path) {
            None => self.file.write(bytes),
            Some(Fault::Short) => self.file.write(&bytes[..bytes.len().div_ceil(2)]),
            Some(Fault::Torn(code)) => {
                self.file.write(&bytes[..bytes.len() / 2])?;
                Err(io::Error::from_raw_os_error(code))
            }
            Some(Fault::Error(code) | Fault::Dead(code)) => Err(io::Error::from_raw_os_error(code)),
        }
    }

    fn fsync(&mut self) -> io::Result<()> {
        self.script.pass("fsync", &self.path)?;
        self.file.fsync()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.script.next("read_at", &self.path) {
            None => self.file.read_at(buffer, offset),
            Some(Fault::Short) => {
                let short = buffer.len().min(1);
                self.file.read_at(&mut buffer[..short], offset)
            }
            Some(Fault::Error(code) | Fault::Torn(code) | Fault::Dead(code)) => {
                Err(io::Error::from_raw_os_error(code))
            }
        }
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.script.pass("size_bytes", &self.path)?;
        self.file.size_bytes()
    }
}

impl<D: Storage> Storage for FailingDisk<D> {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.script.pass("create_file", path)?;
        Ok(self.script.wrap(path, self.disk.create_file(path)?))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        self.script.pass("open_file", path)?;
        Ok(self.script.wrap(path, self.disk.open_file(path)?))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.script.pass("create_folder", path)?;
        self.disk.create_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.script.pass("rename", to)?;
        self.disk.rename(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.script.pass("exchange", other)?;
        self.disk.exchange(one, other)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.script.pass("remove_file", path)?;
        self.disk.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.script.pass("remove_folder", path)?;
        self.disk.remove_folder(path)
    }

    fn fsync_folder(&self, path: &Path) -> io::Result<()> {
        self.script.pass("fsync_folder", path)?;
        self.disk.fsync_folder(path)
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<(OsString, EntryKind)>> {
        self.script.pass("entries", path)?;
        self.disk.entries(path)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        self.script.pass("kind", path)?;
        self.disk.kind(path)
    }

    fn hold(&self, path: &Path) -> io::Result<Hold> {
        self.script.pass("hold", path)?;
        self.disk.hold(path)
    }
}
