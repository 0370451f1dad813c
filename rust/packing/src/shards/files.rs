//! Shard files opened when they are first read, and no more of them at a time than a process may have.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stategpt_storage::{StorageError, open_regular};

use super::describe::shard_name;
use super::npy::{Dtype, HEADER_BYTES, file_bytes, header};
use crate::error::PackingError;

/// Half of the usual soft limit of 1,024 open files would leave too little for others; 256 serves 64 shards' four files.
const MAX_OPEN: usize = 256;

/// A file of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `tokens.npy`
    Tokens,
    /// `offsets.npy`
    Offsets,
    /// `mask.npy`
    Mask,
    /// `doc_id.npy`
    DocId,
}

impl Part {
    /// Name within the shard's folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens.npy",
            Self::Offsets => "offsets.npy",
            Self::Mask => "mask.npy",
            Self::DocId => "doc_id.npy",
        }
    }
}

/// The files of a data set, read with `pread`: no seek position to share and nothing mapped that a truncation could
/// turn into a fatal signal.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<(usize, Part), (u64, Arc<File>)>,
    clock: u64,
}

impl Files {
    /// The files below `root`.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            open: Mutex::default(),
        }
    }

    /// Path of a file.
    pub fn path(&self, shard: usize, part: Part) -> PathBuf {
        self.root.join(shard_name(shard)).join(part.file_name())
    }

    /// Checks that a file has the size and the header of `count` elements of `dtype`.
    pub fn check(
        &self,
        shard: usize,
        part: Part,
        dtype: Dtype,
        count: u64,
    ) -> Result<(), PackingError> {
        let path = self.path(shard, part);
        let file = open_regular(&path).map_err(|error| missing(&path, error))?;
        let found = file
            .metadata()
            .map_err(|error| StorageError::io("look at", &path, error))?
            .len();
        let expected = file_bytes(dtype, count).unwrap_or(u64::MAX);
        if found != expected {
            let reason = format!("the file has {found} bytes, its manifest says {expected}");
            return Err(PackingError::Corrupt {
                path,
                offset: found.min(expected),
                reason,
            });
        }
        let mut start = [0; HEADER_BYTES];
        file.read_exact_at(&mut start, 0)
            .map_err(|error| StorageError::io("read", &path, error))?;
        let wanted = header(dtype, count);
        match start
            .iter()
            .zip(wanted)
            .position(|(found, wanted)| *found != wanted)
        {
            None => Ok(()),
            Some(at) => {
                let reason = format!("the header is not that of {count} elements of {dtype:?}");
                Err(PackingError::Corrupt {
                    path,
                    offset: at as u64,
                    reason,
                })
            }
        }
    }

    /// Reads elements from number `first` on, as raw bytes that fill `out`.
    pub fn read(
        &self,
        shard: usize,
        part: Part,
        width: usize,
        first: u64,
        out: &mut [u8],
    ) -> Result<(), PackingError> {
        let file = self.file(shard, part)?;
        let offset = HEADER_BYTES as u64 + first * width as u64;
        file.read_exact_at(out, offset).map_err(|error| {
            let path = self.path(shard, part);
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                let reason = format!(
                    "the file ends within the {} bytes read from here",
                    out.len()
                );
                return PackingError::Corrupt {
                    path,
                    offset,
                    reason,
                };
            }
            StorageError::io("read", &path, error).into()
        })
    }

    fn file(&self, shard: usize, part: Part) -> Result<Arc<File>, PackingError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let now = open.clock;
        if let Some((used, file)) = open.files.get_mut(&(shard, part)) {
            *used = now;
            return Ok(Arc::clone(file));
        }
        let path = self.path(shard, part);
        let file = Arc::new(open_regular(&path).map_err(|error| missing(&path, error))?);
        if open.files.len() >= MAX_OPEN {
            let oldest = open
                .files
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(key, _)| *key);
            oldest.and_then(|key| open.files.remove(&key));
        }
        open.files.insert((shard, part), (now, Arc::clone(&file)));
        Ok(file)
    }
}

fn missing(path: &Path, error: std::io::Error) -> PackingError {
    if error.kind() == std::io::ErrorKind::NotFound {
        let reason = "the file is missing".to_string();
        return PackingError::Corrupt {
            path: path.to_path_buf(),
            offset: 0,
            reason,
        };
    }
    StorageError::io("open", path, error).into()
}
