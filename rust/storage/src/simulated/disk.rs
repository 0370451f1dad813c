//! A disk in memory that stops or loses power at a chosen operation.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::memory::{Memory, Node, NodeId, Pending};
use crate::disk::{EntryKind, Hold, Storage, StorageFile};

/// A disk in memory. It stops after a chosen number of operations; `lose_power` then keeps, tears or drops each change
/// that was not made durable, in any combination.
#[derive(Clone)]
pub struct SimulatedDisk {
    memory: Arc<Mutex<Memory>>,
    abilities: Abilities,
}

/// What a simulated disk can do. A disk that lies about fsync shows that a test would notice a missing one.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// It can exchange two names in one step.
    pub exchange: bool,
    /// An fsync of a file makes its content durable, instead of only saying so.
    pub fsync_files: bool,
    /// An fsync of a folder makes its names durable, instead of only saying so.
    pub fsync_folders: bool,
}

impl Default for Abilities {
    fn default() -> Self {
        Self {
            exchange: true,
            fsync_files: true,
            fsync_folders: true,
        }
    }
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(abilities: Abilities) -> Self {
        Self {
            memory: Arc::new(Mutex::new(Memory::new())),
            abilities,
        }
    }

    /// Carries out `operations` more and then none: each fails from there on.
    pub fn stop_after(&self, operations: usize) {
        self.lock().remaining = operations;
    }

    /// The process was killed and another starts: claims are gone, everything seen is still there.
    pub fn restart(&self) {
        let mut memory = self.lock();
        memory.held.clear();
        memory.remaining = usize::MAX;
    }

    /// The machine lost power and starts again; `seed` decides what survived of the changes that were not durable.
    pub fn lose_power(&self, seed: u64) {
        super::power_loss::lose_power(&mut self.lock(), seed);
        self.restart();
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if the machine still runs; counts one operation.
    fn running(&self) -> io::Result<MutexGuard<'_, Memory>> {
        let mut memory = self.lock();
        if memory.remaining == 0 {
            return Err(io::Error::other("the machine has stopped"));
        }
        memory.remaining -= 1;
        Ok(memory)
    }
}

fn name_of(path: &Path) -> OsString {
    path.file_name().unwrap_or_default().to_owned()
}

struct SimulatedFile {
    disk: SimulatedDisk,
    node: NodeId,
}

impl StorageFile for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Node::File { seen, pending, .. } = &mut self.disk.running()?.nodes[self.node] {
            pending.push(Pending {
                offset: seen.len(),
                bytes: bytes.to_vec(),
            });
            seen.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn fsync(&mut self) -> io::Result<()> {
        let mut memory = self.disk.running()?;
        if !self.disk.abilities.fsync_files {
            return Ok(());
        }
        memory.nodes[self.node].fsync();
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Node::File { seen, .. } = &self.disk.running()?.nodes[self.node] else {
            return Ok(0);
        };
        let rest = seen.get(offset as usize..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        match &self.disk.running()?.nodes[self.node] {
            Node::File { seen, .. } => Ok(seen.len() as u64),
            Node::Folder { .. } => Ok(0),
        }
    }
}

struct SimulatedHold {
    memory: Arc<Mutex<Memory>>,
    node: NodeId,
}

impl Drop for SimulatedHold {
    fn drop(&mut self) {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .held
            .remove(&self.node);
    }
}

impl Storage for SimulatedDisk {
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let node = self.running()?.create(path, Node::file())?;
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            node,
        }))
    }

    fn open_file(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let node = self.running()?.find(path)?;
        Ok(Box::new(SimulatedFile {
            disk: self.clone(),
            node,
        }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.running()?.create(path, Node::folder()).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut memory = self.running()?;
        let (folder, node, there) = memory.pair(from, to)?;
        if there.is_some_and(|there| memory.is_full_folder(there)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        memory.change(
            folder,
            vec![(name_of(from), None), (name_of(to), Some(node))],
        )
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let mut memory = self.running()?;
        if !self.abilities.exchange {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (folder, node, there) = memory.pair(one, other)?;
        let there = there.ok_or(io::ErrorKind::NotFound)?;
        memory.change(
            folder,
            vec![(name_of(one), Some(there)), (name_of(other), Some(node))],
        )
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut memory = self.running()?;
        let node = memory.find(path)?;
        match memory.nodes[node] {
            Node::File { .. } => memory.remove(path),
            Node::Folder { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut memory = self.running()?;
        let node = memory.find(path)?;
        if memory.is_full_folder(node) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        memory.remove(path)
    }

    fn fsync_folder(&self, path: &Path) -> io::Result<()> {
        let mut memory = self.running()?;
        let node = memory.find(path)?;
        if !self.abilities.fsync_folders {
            return Ok(());
        }
        memory.nodes[node].fsync();
        Ok(())
    }

    fn entries(&self, path: &Path) -> io::Result<Vec<(OsString, EntryKind)>> {
        let mut memory = self.running()?;
        let folder = memory.find(path)?;
        let names = memory.names(folder)?.0.clone();
        Ok(names
            .into_iter()
            .map(|(name, node)| (name, memory.nodes[node].kind()))
            .collect())
    }

    fn kind(&self, path: &Path) -> io::Result<Option<EntryKind>> {
        let mut memory = self.running()?;
        match memory.find(path) {
            Ok(node) => Ok(Some(memory.nodes[node].kind())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hold(&self, path: &Path) -> io::Result<Hold> {
        let mut memory = self.running()?;
        let node = memory.find(path)?;
        if !memory.held.insert(node) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimulatedHold {
            memory: Arc::clone(&self.memory),
            node,
        }))
    }
}
