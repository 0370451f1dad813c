//! Files and folders in memory: for each, what programs see and what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};

use crate::disk::EntryKind;

/// Number of a file or folder; names point to it.
pub(super) type NodeId = usize;

/// The names one operation sets (`Some`) or removes (`None`) in one folder; it survives a power loss whole or not.
pub(super) type NameChange = Vec<(OsString, Option<NodeId>)>;

/// A write that is not yet durable.
pub(super) struct Pending {
    /// Where in the file it begins.
    pub offset: usize,
    /// What was written.
    pub bytes: Vec<u8>,
}

/// A file or a folder: what programs see, what is durable, and the changes between the two.
pub(super) enum Node {
    /// Content of a file.
    File {
        seen: Vec<u8>,
        durable: Vec<u8>,
        pending: Vec<Pending>,
    },
    /// Names in a folder.
    Folder {
        seen: BTreeMap<OsString, NodeId>,
        durable: BTreeMap<OsString, NodeId>,
        pending: Vec<NameChange>,
    },
}

impl Node {
    pub(super) fn file() -> Self {
        Self::File {
            seen: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn folder() -> Self {
        Self::Folder {
            seen: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
        }
    }

    pub(super) fn kind(&self) -> EntryKind {
        match self {
            Self::File { .. } => EntryKind::File,
            Self::Folder { .. } => EntryKind::Folder,
        }
    }

    /// Makes everything seen durable.
    pub(super) fn fsync(&mut self) {
        match self {
            Self::File {
                seen,
                durable,
                pending,
            } => {
                durable.clone_from(seen);
                pending.clear();
            }
            Self::Folder {
                seen,
                durable,
                pending,
            } => {
                durable.clone_from(seen);
                pending.clear();
            }
        }
    }
}

/// The state of a simulated disk.
pub(super) struct Memory {
    /// Every file and folder there ever was; the root is the first.
    pub(super) nodes: Vec<Node>,
    /// Claimed by a living process.
    pub(super) held: BTreeSet<NodeId>,
    /// Operations that are still carried out before the machine stops.
    pub(super) remaining: usize,
}

/// The root folder.
const ROOT: NodeId = 0;

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::folder()],
            held: BTreeSet::new(),
            remaining: usize::MAX,
        }
    }

    pub(super) fn names(
        &mut self,
        folder: NodeId,
    ) -> io::Result<(&mut BTreeMap<OsString, NodeId>, &mut Vec<NameChange>)> {
        match &mut self.nodes[folder] {
            Node::Folder { seen, pending, .. } => Ok((seen, pending)),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn find(&mut self, path: &Path) -> io::Result<NodeId> {
        path.components().try_fold(ROOT, |node, part| match part {
            Component::Normal(name) => self
                .names(node)?
                .0
                .get(name)
                .copied()
                .ok_or(io::ErrorKind::NotFound.into()),
            _ => Ok(node),
        })
    }

    /// The folder that holds `path`, and its name there.
    pub(super) fn place<'path>(&mut self, path: &'path Path) -> io::Result<(NodeId, &'path OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("")))?, name))
    }

    pub(super) fn change(&mut self, folder: NodeId, change: NameChange) -> io::Result<()> {
        let (seen, pending) = self.names(folder)?;
        apply(seen, &change);
        pending.push(change);
        Ok(())
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let (folder, name) = self.place(path)?;
        if self.names(folder)?.0.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        self.change(folder, vec![(name.to_owned(), Some(id))])?;
        Ok(id)
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        self.change(folder, vec![(name.to_owned(), None)])
    }

    /// Two names of one folder and their targets: all that the write protocol ever renames.
    pub(super) fn pair(
        &mut self,
        one: &Path,
        other: &Path,
    ) -> io::Result<(NodeId, NodeId, Option<NodeId>)> {
        let ((folder, _), (other_folder, other_name)) = (self.place(one)?, self.place(other)?);
        if folder != other_folder {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let there = self.names(folder)?.0.get(other_name).copied();
        Ok((folder, self.find(one)?, there))
    }

    pub(super) fn is_full_folder(&self, node: NodeId) -> bool {
        matches!(&self.nodes[node], Node::Folder { seen, .. } if !seen.is_empty())
    }
}

/// Carries out one change of names.
pub(super) fn apply(names: &mut BTreeMap<OsString, NodeId>, change: &NameChange) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}
