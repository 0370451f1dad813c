//! Publishing a folder: every file durable and hashed, the manifest last, one rename as the commit.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{EntryKind, Storage};
use crate::error::{At, StorageError};
use crate::file::FileWriter;
use crate::hash::{FileHasher, FileRecord};
use crate::manifest::{Label, MANIFEST_NAME, Manifest, is_plain_name};
use crate::reading::{files_below, read_through};
use crate::staging::{
    Claimed, aside_name, claim, create_durable_folders, create_folders, recover, remove_tree, split,
};

/// A folder that is being written beside its final name. Dropping it unpublished removes it.
pub struct StagedFolder<'disk> {
    disk: &'disk dyn Storage,
    target: PathBuf,
    claimed: Claimed,
    written: BTreeMap<String, FileRecord>,
    committed: bool,
}

impl<'disk> StagedFolder<'disk> {
    /// An empty folder that `publish` will rename to `target`; missing ancestors are created.
    ///
    /// An existing `target` must be a published folder or empty: nothing that someone else put there is removed.
    pub fn create(disk: &'disk dyn Storage, target: &Path) -> Result<Self, StorageError> {
        create_durable_folders(disk, split(target)?.0)?;
        recover(disk, target)?;
        refuse_foreign_content(disk, target)?;
        let (claimed, ()) = claim(disk, target, |temporary| disk.create_folder(temporary))?;
        Ok(Self {
            disk,
            target: target.to_path_buf(),
            claimed,
            written: BTreeMap::new(),
            committed: false,
        })
    }

    /// Where the folder is while it is being written.
    pub fn path(&self) -> &Path {
        &self.claimed.path
    }

    /// Writes one file of the folder; `name` may have parts separated by `/`. Its bytes are hashed as they pass.
    pub fn write_file<E: From<StorageError>>(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut FileWriter) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.path().join(name);
        if !is_plain_name(name) {
            let reason = "a file's name must be a relative path other than manifest.json";
            return Err(StorageError::Unpublishable { path, reason }.into());
        }
        create_folders(self.disk, split(&path)?.0)?;
        let file = self.disk.create_file(&path).at("create", &path)?;
        let mut writer = FileWriter::new(path, file);
        write(&mut writer)?;
        self.written.insert(name.to_string(), writer.finish()?);
        Ok(())
    }

    /// Seals the folder and gives it its final name, replacing what was there.
    ///
    /// Files that were not written through `write_file` are read, hashed and fsynced now. After an error or a crash the
    /// final name holds the old folder or the new one, whole.
    pub fn publish(self, label: Label) -> Result<Manifest, StorageError> {
        self.publish_while(label, &|| true)
    }

    /// As [`StagedFolder::publish`], and ends with `Stopped` when `should_continue`, called for every MiB, returns
    /// false: then nothing is published. Once the manifest is being written, it is not called any more.
    pub fn publish_while(
        mut self,
        label: Label,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Manifest, StorageError> {
        let files = self.durable_files(should_continue)?;
        let manifest = Manifest::new(label, files);
        let path = self.path().join(MANIFEST_NAME);
        let file = self.disk.create_file(&path).at("create", &path)?;
        let mut writer = FileWriter::new(path, file);
        writer.write_all(manifest.to_json().as_bytes())?;
        writer.finish()?;
        self.disk
            .fsync_folder(self.path())
            .at("fsync", self.path())?;
        self.commit()?;
        Ok(manifest)
    }

    /// Makes every file and every folder below durable; returns the files' records.
    fn durable_files(
        &mut self,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<BTreeMap<String, FileRecord>, StorageError> {
        let (names, folders) = files_below(self.disk, self.path())?;
        let mut files = BTreeMap::new();
        for name in names {
            let record = match self.written.remove(&name) {
                Some(record) => record,
                None => hash_and_fsync(self.disk, &self.path().join(&name), should_continue)?,
            };
            files.insert(name, record);
        }
        for folder in folders {
            let path = self.path().join(folder);
            self.disk.fsync_folder(&path).at("fsync", &path)?;
        }
        Ok(files)
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        let (disk, target) = (self.disk, self.target.clone());
        let (parent, _) = split(&target)?;
        refuse_foreign_content(disk, &target)?;
        match disk.kind(&target).at("look at", &target)? {
            None => disk.rename(self.path(), &target).at("rename", &target)?,
            Some(_) => self.replace(&target, parent)?,
        }
        self.committed = true;
        disk.fsync_folder(parent).at("fsync", parent)?;
        // After an exchange our temporary name holds the old content, which nothing needs once the new name is durable.
        remove_tree(disk, self.path());
        Ok(())
    }

    fn replace(&self, target: &Path, parent: &Path) -> Result<(), StorageError> {
        match self.disk.exchange(self.path(), target) {
            Err(error) if is_unsupported(&error) => self.replace_by_two_renames(target, parent),
            exchanged => exchanged.at("exchange", target),
        }
    }

    /// For file systems without an exchange (some network mounts): between the renames the old folder is under its
    /// aside name, claimed; `recover` brings it back if we die there.
    fn replace_by_two_renames(&self, target: &Path, parent: &Path) -> Result<(), StorageError> {
        let aside = aside_name(target)?;
        let _claim = self.disk.hold(target);
        self.disk.rename(target, &aside).at("rename", &aside)?;
        let renamed = self
            .disk
            .fsync_folder(parent)
            .and_then(|()| self.disk.rename(self.path(), target));
        if let Err(error) = renamed {
            // Best effort: if this fails too, the next reader or publisher recovers.
            let _ = self.disk.rename(&aside, target);
            return Err(error).at("rename", target);
        }
        self.disk.fsync_folder(parent).at("fsync", parent)?;
        remove_tree(self.disk, &aside);
        Ok(())
    }
}

impl Drop for StagedFolder<'_> {
    fn drop(&mut self) {
        if !self.committed {
            remove_tree(self.disk, &self.claimed.path);
        }
        self.claimed.hold = None;
    }
}

/// Replacing removes what was there, so it must be ours: a published folder, or an empty one.
fn refuse_foreign_content(disk: &dyn Storage, target: &Path) -> Result<(), StorageError> {
    let foreign = match disk.kind(target).at("look at", target)? {
        None => false,
        Some(EntryKind::Folder) => {
            let entries = disk.entries(target).at("list", target)?;
            !entries.is_empty() && entries.iter().all(|(name, _)| name != MANIFEST_NAME)
        }
        Some(EntryKind::File | EntryKind::Other) => true,
    };
    if foreign {
        let reason =
            "it exists and is not a published folder; choose another name, or move it away";
        return Err(StorageError::Unpublishable {
            path: target.to_path_buf(),
            reason,
        });
    }
    Ok(())
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput
    )
}

fn hash_and_fsync(
    disk: &dyn Storage,
    path: &Path,
    should_continue: &dyn Fn() -> bool,
) -> Result<FileRecord, StorageError> {
    let mut file = disk.open_file(path).at("open", path)?;
    let mut hasher = FileHasher::default();
    read_through(file.as_ref(), path, should_continue, |part| {
        hasher.update(part)
    })?;
    file.fsync().at("fsync", path)?;
    Ok(hasher.finish())
}

/// Publishes a folder: `write` fills it and says what it is.
///
/// ```
/// # fn main() -> Result<(), stategpt_storage::StorageError> {
/// # let root = std::env::temp_dir().join(format!("stategpt-doc-folder-{}", std::process::id()));
/// use stategpt_storage::{Label, RealDisk, publish_folder, verify_folder};
/// let manifest = publish_folder(&RealDisk, &root.join("greeting"), |folder| {
///     folder.write_file("hello.txt", |file| file.write_all(b"hello\n"))?;
///     Ok::<_, stategpt_storage::StorageError>(Label { kind: "greeting".into(), ..Label::default() })
/// })?;
/// assert_eq!(verify_folder(&RealDisk, &root.join("greeting"), Some("greeting"))?, manifest);
/// # std::fs::remove_dir_all(&root).ok();
/// # Ok(()) }
/// ```
pub fn publish_folder<E: From<StorageError>>(
    disk: &dyn Storage,
    target: &Path,
    write: impl FnOnce(&mut StagedFolder<'_>) -> Result<Label, E>,
) -> Result<Manifest, E> {
    let mut staged = StagedFolder::create(disk, target)?;
    let label = write(&mut staged)?;
    Ok(staged.publish(label)?)
}
