//! Any bytes, read as a manifest and as JSON to be fingerprinted.

use std::collections::BTreeMap;
use std::path::Path;

use stategpt_storage::{
    Label, MANIFEST_NAME, Manifest, RealDisk, canonical_json, fingerprint, fingerprint_json,
    read_manifest, verify_folder,
};

/// The bytes as `manifest.json`, unchanged and signed again, and as a JSON value.
///
/// # Panics
/// If an accepted manifest is not written as it was read, or the canonical form of a value is not its own canonical form.
pub fn manifest(data: &[u8]) {
    canonical(data);
    let Ok(folder) = tempfile::tempdir() else {
        return;
    };
    hold(folder.path(), data);
    let Ok(label) = std::str::from_utf8(data).map(Label::from_json) else {
        return;
    };
    if let Ok(label) = label {
        let signed = Manifest::new(label, BTreeMap::new()).to_json();
        assert!(
            hold(folder.path(), signed.as_bytes()),
            "what is signed is read"
        );
    }
}

fn hold(folder: &Path, text: &[u8]) -> bool {
    if std::fs::write(folder.join(MANIFEST_NAME), text).is_err() {
        return false;
    }
    let Ok(read) = read_manifest(&RealDisk, folder) else {
        return false;
    };
    assert_eq!(read.to_json().as_bytes(), text, "read and written are one");
    assert_eq!(
        verify_folder(&RealDisk, folder, None).is_ok(),
        read.files.is_empty(),
        "there are no files here"
    );
    true
}

fn canonical(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else {
        return;
    };
    let text = canonical_json(&value);
    let again = fingerprint_json(&text).ok();
    assert_eq!(
        again,
        Some(fingerprint(&value)),
        "the canonical form is its own"
    );
    let read: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    assert_eq!(read.map(|read| canonical_json(&read)), Some(text));
}
