//! The manifest of a published folder: what is in it, what it was made from, and a fingerprint over all of that.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::canonical::{fingerprint, indented_json};
use crate::disk::{EntryKind, Storage};
use crate::error::{At, Damage, StorageError};
use crate::hash::FileRecord;
use crate::reading::read_through;
use crate::staging::recover;

/// Name of the manifest within its folder.
pub const MANIFEST_NAME: &str = "manifest.json";

/// Version of the manifest format that this crate writes, and the only one it reads.
pub const SCHEMA_VERSION: u32 = 1;

/// A manifest larger than this is refused before it is read.
const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// What a publisher says about a folder besides its files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// What the folder is: "token_shard", "checkpoint". A reader that wants another kind refuses it.
    pub kind: String,
    /// Fingerprints of what it depends on, by name: "tokenizer", "config".
    #[serde(default)]
    pub fingerprints: BTreeMap<String, String>,
    /// Manifest fingerprints of the published folders it was made from.
    #[serde(default)]
    pub parents: Vec<String>,
    /// Anything else: counts, histograms, license.
    #[serde(default)]
    pub extra: Map<String, Value>,
}

impl Label {
    /// Reads a label from JSON text; a key that it does not have is refused.
    pub fn from_json(text: &str) -> Result<Self, StorageError> {
        serde_json::from_str(text).map_err(|source| StorageError::Json {
            what: "the label",
            source,
        })
    }
}

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Format version of this file.
    pub schema_version: u32,
    /// What the folder is.
    pub kind: String,
    /// Every other file of the folder, by its name with `/` between the parts.
    pub files: BTreeMap<String, FileRecord>,
    /// Fingerprints of what the folder depends on, by name.
    pub fingerprints: BTreeMap<String, String>,
    /// Manifest fingerprints of the published folders it was made from.
    pub parents: Vec<String>,
    /// What else the publisher recorded.
    pub extra: Map<String, Value>,
    /// BLAKE3 over the canonical JSON of all the fields above: the folder's identity.
    pub fingerprint: String,
}

impl Manifest {
    /// The manifest of `files` under `label`.
    pub fn new(label: Label, files: BTreeMap<String, FileRecord>) -> Self {
        let Label {
            kind,
            fingerprints,
            parents,
            extra,
        } = label;
        let unsigned = String::new();
        let mut manifest = Self {
            schema_version: SCHEMA_VERSION,
            kind,
            files,
            fingerprints,
            parents,
            extra,
            fingerprint: unsigned,
        };
        manifest.fingerprint = manifest.computed_fingerprint();
        manifest
    }

    fn computed_fingerprint(&self) -> String {
        let mut value = self.to_value();
        if let Value::Object(fields) = &mut value {
            fields.remove("fingerprint");
        }
        fingerprint(&value)
    }

    fn to_value(&self) -> Value {
        // Only maps with string keys, strings and numbers: there is nothing that JSON cannot hold.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The text of `manifest.json`: keys sorted at every level, indented, ending in a newline.
    pub fn to_json(&self) -> String {
        indented_json(&self.to_value()) + "\n"
    }

    /// Reads the text of a manifest; `folder` is named in errors. Any byte that differs from what was written is found.
    fn from_json(text: &[u8], folder: &Path) -> Result<Self, StorageError> {
        let altered = |reason: String| StorageError::corrupt(folder, Damage::Manifest { reason });
        let value: Value =
            serde_json::from_slice(text).map_err(|error| altered(error.to_string()))?;
        check_schema_version(&value, folder)?;
        let manifest: Self =
            serde_json::from_value(value).map_err(|error| altered(error.to_string()))?;
        let computed = manifest.computed_fingerprint();
        if manifest.fingerprint != computed {
            return Err(altered(format!(
                "its fingerprint is {}, its content gives {computed}",
                manifest.fingerprint
            )));
        }
        if manifest.to_json().as_bytes() != text {
            return Err(altered(
                "its layout is not the one this program writes".into(),
            ));
        }
        match manifest.files.keys().find(|name| !is_plain_name(name)) {
            Some(name) => Err(altered(format!("the file name {name:?} leaves the folder"))),
            None => Ok(manifest),
        }
    }
}

fn check_schema_version(value: &Value, folder: &Path) -> Result<(), StorageError> {
    let found = value.get("schema_version").unwrap_or(&Value::Null);
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    Err(StorageError::Foreign {
        folder: folder.to_path_buf(),
        what: "schema version",
        expected: SCHEMA_VERSION.to_string(),
        found: found.to_string(),
    })
}

/// Is `name` a relative path of ordinary parts, other than the manifest itself?
pub(crate) fn is_plain_name(name: &str) -> bool {
    name != MANIFEST_NAME
        && name
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

/// Reads the manifest of a published folder, after undoing an interrupted replacement. The files are not read.
pub fn read_manifest(disk: &dyn Storage, folder: &Path) -> Result<Manifest, StorageError> {
    if disk.kind(folder).at("look at", folder)?.is_none() {
        recover(disk, folder)?;
    }
    let path = folder.join(MANIFEST_NAME);
    if disk.kind(&path).at("look at", &path)? != Some(EntryKind::File) {
        return Err(StorageError::Unpublished {
            folder: folder.to_path_buf(),
        });
    }
    Manifest::from_json(&read_all(disk, &path)?, folder)
}

/// Refuses a manifest of another kind.
pub fn expect_kind(manifest: &Manifest, kind: &str, folder: &Path) -> Result<(), StorageError> {
    if manifest.kind == kind {
        return Ok(());
    }
    Err(StorageError::Foreign {
        folder: folder.to_path_buf(),
        what: "kind",
        expected: kind.to_string(),
        found: manifest.kind.clone(),
    })
}

fn read_all(disk: &dyn Storage, path: &Path) -> Result<Vec<u8>, StorageError> {
    let file = disk.open_file(path).at("open", path)?;
    let size = file.size_bytes().at("look at", path)?;
    if size > MAX_MANIFEST_BYTES {
        let folder = path.parent().unwrap_or(path);
        return Err(StorageError::corrupt(
            folder,
            Damage::Manifest {
                reason: format!("it has {size} bytes"),
            },
        ));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    read_through(file.as_ref(), path, &|| true, |part| {
        bytes.extend_from_slice(part);
    })?;
    Ok(bytes)
}
