//! Reading back: does a published folder hold exactly what its manifest says?

use std::collections::BTreeSet;
use std::path::Path;

use crate::disk::{EntryKind, Storage};
use crate::error::{At, Damage, StorageError};
use crate::hash::{CHUNK_BYTES, FileHasher, FileRecord};
use crate::manifest::{MANIFEST_NAME, Manifest, expect_kind, read_manifest};
use crate::reading::{files_below, read_through};

/// Reads every file of a published folder and compares it with the manifest, which is returned.
///
/// `kind`, if given, is the kind the folder must have. All damages are listed, not only the first.
pub fn verify_folder(
    disk: &dyn Storage,
    folder: &Path,
    kind: Option<&str>,
) -> Result<Manifest, StorageError> {
    verify_folder_while(disk, folder, kind, &|| true)
}

/// As [`verify_folder`], and ends with `Stopped` when `should_continue`, called for every MiB, returns false.
pub fn verify_folder_while(
    disk: &dyn Storage,
    folder: &Path,
    kind: Option<&str>,
    should_continue: &dyn Fn() -> bool,
) -> Result<Manifest, StorageError> {
    let manifest = read_manifest(disk, folder)?;
    if let Some(kind) = kind {
        expect_kind(&manifest, kind, folder)?;
    }
    let mut damage = Vec::new();
    for (name, record) in &manifest.files {
        damage.extend(check_file(
            disk,
            folder,
            name,
            record,
            should_continue,
            |_| (),
        )?);
    }
    let found: BTreeSet<String> = files_below(disk, folder)?.0.into_iter().collect();
    let extra = found
        .into_iter()
        .filter(|name| name != MANIFEST_NAME && !manifest.files.contains_key(name));
    damage.extend(extra.map(|name| Damage::Extra { name }));
    if damage.is_empty() {
        return Ok(manifest);
    }
    Err(StorageError::Corrupt {
        folder: folder.to_path_buf(),
        damage,
    })
}

/// Reads one file of a published folder and compares it with the manifest. `false`: the manifest does not list it.
///
/// # Errors
/// [`StorageError::Corrupt`] if it differs; as [`read_manifest`].
pub fn verify_file(disk: &dyn Storage, folder: &Path, name: &str) -> Result<bool, StorageError> {
    let manifest = read_manifest(disk, folder)?;
    let Some(record) = manifest.files.get(name) else {
        return Ok(false);
    };
    match check_file(disk, folder, name, record, &|| true, |_| ())? {
        Some(damage) => Err(StorageError::corrupt(folder, damage)),
        None => Ok(true),
    }
}

/// The bytes of one file of a published folder, checked against the manifest while they are read.
pub fn read_verified(
    disk: &dyn Storage,
    folder: &Path,
    manifest: &Manifest,
    name: &str,
) -> Result<Vec<u8>, StorageError> {
    let missing = || {
        StorageError::corrupt(
            folder,
            Damage::Missing {
                name: name.to_string(),
            },
        )
    };
    let record = manifest.files.get(name).ok_or_else(missing)?;
    let mut bytes = Vec::new();
    match check_file(disk, folder, name, record, &|| true, |part| {
        bytes.extend_from_slice(part)
    })? {
        Some(damage) => Err(StorageError::corrupt(folder, damage)),
        None => Ok(bytes),
    }
}

/// Compares one file with its record and shows its bytes to `see`.
fn check_file(
    disk: &dyn Storage,
    folder: &Path,
    name: &str,
    record: &FileRecord,
    should_continue: &dyn Fn() -> bool,
    mut see: impl FnMut(&[u8]),
) -> Result<Option<Damage>, StorageError> {
    let path = folder.join(name);
    if disk.kind(&path).at("look at", &path)? != Some(EntryKind::File) {
        return Ok(Some(Damage::Missing {
            name: name.to_string(),
        }));
    }
    let file = disk.open_file(&path).at("open", &path)?;
    let found_bytes = file.size_bytes().at("look at", &path)?;
    let resized = |found_bytes| Damage::Resized {
        name: name.to_string(),
        expected_bytes: record.size,
        found_bytes,
    };
    // Before the bytes are read: a file that grew by gigabytes is not worth hashing.
    if found_bytes != record.size {
        return Ok(Some(resized(found_bytes)));
    }
    let mut hasher = FileHasher::default();
    read_through(file.as_ref(), &path, should_continue, |part| {
        hasher.update(part);
        see(part);
    })?;
    let found = hasher.finish();
    if found.size != record.size {
        return Ok(Some(resized(found.size)));
    }
    Ok(first_difference(name, record, &found))
}

fn first_difference(name: &str, expected: &FileRecord, found: &FileRecord) -> Option<Damage> {
    if expected == found {
        return None;
    }
    let chunk = expected
        .chunks
        .iter()
        .zip(&found.chunks)
        .position(|(one, other)| one != other);
    let (chunk_offset, expected, found) = match chunk {
        Some(index) => (
            index as u64 * CHUNK_BYTES,
            &expected.chunks[index],
            &found.chunks[index],
        ),
        None => (0, &expected.blake3, &found.blake3),
    };
    Some(Damage::Altered {
        name: name.to_string(),
        chunk_offset,
        expected: expected.clone(),
        found: found.clone(),
    })
}
