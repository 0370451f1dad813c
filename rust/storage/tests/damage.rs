//! Every damage to a published folder is found and named.
#![allow(clippy::unwrap_used, clippy::panic)]

mod scenarios;

use std::fs;
use std::path::{Path, PathBuf};

use scenarios::folder_in_memory;
use stategpt_storage::{
    Damage, Label, Manifest, RealDisk, StagedFolder, StorageError, publish_folder, read_manifest,
    read_verified, verify_file, verify_folder, verify_folder_while,
};

const SMALL_BYTES: usize = 512;

fn published(root: &Path) -> (PathBuf, Manifest) {
    let target = root.join("shard");
    let manifest = publish_folder::<StorageError>(&RealDisk, &target, |folder| {
        let bytes: Vec<u8> = (0..SMALL_BYTES).map(|i| (i * 7 % 256) as u8).collect();
        folder.write_file("tokens.npy", |file| file.write_all(&bytes))?;
        folder.write_file("deep/offsets.npy", |file| file.write_all(b"offsets"))?;
        let label = r#"{"kind": "shard", "parents": ["b3:00"], "extra": {"scale": 1e300, "text": "\u001f"}}"#;
        Label::from_json(label)
    })
    .unwrap();
    (target, manifest)
}

fn damage(folder: &Path) -> Vec<Damage> {
    match verify_folder(&RealDisk, folder, None) {
        Err(StorageError::Corrupt { damage, .. }) => damage,
        other => panic!("expected damage, got {other:?}"),
    }
}

#[test]
fn one_file_is_verified_without_the_others() {
    let root = folder_in_memory();
    let (folder, _) = published(root.path());
    fs::write(folder.join("tokens.npy"), b"other").unwrap();
    assert!(verify_file(&RealDisk, &folder, "deep/offsets.npy").unwrap());
    assert!(!verify_file(&RealDisk, &folder, "no_such_file").unwrap());
    fs::write(folder.join("deep/offsets.npy"), b"offsetz").unwrap();
    let found = verify_file(&RealDisk, &folder, "deep/offsets.npy");
    assert!(
        matches!(found, Err(StorageError::Corrupt { .. })),
        "{found:?}"
    );
}

#[test]
fn every_single_bit_flip_of_any_file_is_found() {
    let root = folder_in_memory();
    let (folder, _) = published(root.path());
    let mut flips = 0;
    for name in ["tokens.npy", "deep/offsets.npy", "manifest.json"] {
        let path = folder.join(name);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            let found = verify_folder(&RealDisk, &folder, None);
            assert!(
                matches!(
                    found,
                    Err(StorageError::Corrupt { .. } | StorageError::Foreign { .. })
                ),
                "bit {bit} of {name}: {found:?}"
            );
            flips += 1;
        }
        fs::write(&path, &whole).unwrap();
    }
    verify_folder(&RealDisk, &folder, Some("shard")).unwrap();
    assert!(flips > 8 * SMALL_BYTES);
}

#[test]
fn every_truncation_is_found_with_both_lengths() {
    let root = folder_in_memory();
    let (folder, _) = published(root.path());
    let path = folder.join("tokens.npy");
    let whole = fs::read(&path).unwrap();
    for kept in 0..whole.len() {
        fs::write(&path, &whole[..kept]).unwrap();
        let (expected_bytes, found_bytes) = (whole.len() as u64, kept as u64);
        assert_eq!(
            damage(&folder),
            [Damage::Resized {
                name: "tokens.npy".into(),
                expected_bytes,
                found_bytes
            }]
        );
    }
    fs::write(&path, &whole).unwrap();
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    for kept in 0..manifest.len() {
        fs::write(folder.join("manifest.json"), &manifest[..kept]).unwrap();
        assert!(
            matches!(damage(&folder)[..], [Damage::Manifest { .. }]),
            "{kept} bytes of the manifest"
        );
    }
}

#[test]
fn missing_and_extra_files_are_listed_together() {
    let root = folder_in_memory();
    let (folder, _) = published(root.path());
    fs::remove_file(folder.join("tokens.npy")).unwrap();
    fs::write(folder.join("deep/other"), "").unwrap();
    let expected = [
        Damage::Missing {
            name: "tokens.npy".into(),
        },
        Damage::Extra {
            name: "deep/other".into(),
        },
    ];
    assert_eq!(damage(&folder), expected);
}

#[test]
fn an_altered_file_is_named_with_offset_and_both_hashes() {
    let root = folder_in_memory();
    let (folder, manifest) = published(root.path());
    fs::write(folder.join("deep/offsets.npy"), "0ffsets").unwrap();
    let [
        Damage::Altered {
            name,
            chunk_offset: 0,
            expected,
            found,
        },
    ] = &damage(&folder)[..]
    else {
        panic!("another damage");
    };
    assert_eq!(
        (name.as_str(), expected),
        (
            "deep/offsets.npy",
            &manifest.files["deep/offsets.npy"].blake3
        )
    );
    assert_eq!(found, blake3::hash(b"0ffsets").to_hex().as_str());
    let error = read_verified(&RealDisk, &folder, &manifest, "deep/offsets.npy").unwrap_err();
    assert!(error.to_string().contains(found.as_str()), "{error}");
    assert_eq!(
        read_verified(&RealDisk, &folder, &manifest, "tokens.npy")
            .unwrap()
            .len(),
        SMALL_BYTES
    );
}

#[test]
fn a_hand_edited_manifest_is_altered_even_if_it_means_the_same() {
    let root = folder_in_memory();
    let (folder, _) = published(root.path());
    let path = folder.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    for edited in [
        text.replace("  ", " "),
        text.replace("1e300", "1E300"),
        format!("{text} "),
        text.replace("\"shard\"", "\"trap\""),
    ] {
        assert_ne!(edited, text);
        fs::write(&path, edited).unwrap();
        assert!(matches!(damage(&folder)[..], [Damage::Manifest { .. }]));
    }
}

#[test]
fn a_manifest_that_names_files_outside_its_folder_is_refused() {
    let root = folder_in_memory();
    for name in [
        "../secret",
        "/etc/hostname",
        "a//b",
        "a/./b",
        "",
        "manifest.json",
    ] {
        let folder = root.path().join("hostile");
        fs::create_dir_all(&folder).unwrap();
        let record = stategpt_storage::FileHasher::default().finish();
        let manifest = Manifest::new(Label::default(), [(name.to_string(), record)].into());
        fs::write(folder.join("manifest.json"), manifest.to_json()).unwrap();
        assert!(
            matches!(damage(&folder)[..], [Damage::Manifest { .. }]),
            "{name:?}"
        );
    }
}

#[test]
fn another_kind_or_schema_version_is_foreign_and_a_bare_folder_unpublished() {
    let root = folder_in_memory();
    let (folder, manifest) = published(root.path());
    let error = verify_folder(&RealDisk, &folder, Some("checkpoint")).unwrap_err();
    assert!(
        matches!(&error, StorageError::Foreign { what: "kind", .. }),
        "{error}"
    );
    let newer = manifest
        .to_json()
        .replace("\"schema_version\": 1", "\"schema_version\": 2");
    fs::write(folder.join("manifest.json"), newer).unwrap();
    let error = read_manifest(&RealDisk, &folder).unwrap_err();
    assert!(
        matches!(
            &error,
            StorageError::Foreign {
                what: "schema version",
                ..
            }
        ),
        "{error}"
    );
    fs::remove_file(folder.join("manifest.json")).unwrap();
    assert!(matches!(
        read_manifest(&RealDisk, &folder),
        Err(StorageError::Unpublished { .. })
    ));
}

#[test]
fn links_and_bad_names_are_not_published_and_leave_nothing() {
    let root = folder_in_memory();
    let target = root.path().join("x");
    let staged = StagedFolder::create(&RealDisk, &target).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", staged.path().join("link")).unwrap();
    let error = staged.publish(Label::default()).unwrap_err();
    assert!(
        matches!(error, StorageError::Unpublishable { .. }),
        "{error}"
    );
    let mut staged = StagedFolder::create(&RealDisk, &target).unwrap();
    for name in ["../out", "manifest.json", "/abs", ""] {
        let error = staged
            .write_file::<StorageError>(name, |_| Ok(()))
            .unwrap_err();
        assert!(
            matches!(error, StorageError::Unpublishable { .. }),
            "{name:?}: {error}"
        );
    }
    drop(staged);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_live_writers_folder_is_not_cleaned_and_a_dead_ones_is() {
    let root = folder_in_memory();
    let target = root.path().join("x");
    let dead = root.path().join(".x.staged-1-99");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("part"), "half").unwrap();
    let first = StagedFolder::create(&RealDisk, &target).unwrap();
    assert!(!dead.exists());
    let second = StagedFolder::create(&RealDisk, &target).unwrap();
    assert!(first.path().is_dir() && second.path().is_dir());
    first
        .publish(Label {
            kind: "first".into(),
            ..Label::default()
        })
        .unwrap();
    second
        .publish(Label {
            kind: "second".into(),
            ..Label::default()
        })
        .unwrap();
    assert_eq!(
        verify_folder(&RealDisk, &target, None).unwrap().kind,
        "second"
    );
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_that_someone_else_filled_is_not_replaced() {
    let root = folder_in_memory();
    let target = root.path().join("precious");
    fs::create_dir(&target).unwrap();
    StagedFolder::create(&RealDisk, &target)
        .unwrap()
        .publish(Label::default())
        .unwrap();
    fs::remove_file(target.join("manifest.json")).unwrap();
    fs::write(target.join("thesis.tex"), "years").unwrap();
    let refused = StagedFolder::create(&RealDisk, &target)
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(refused, StorageError::Unpublishable { .. }),
        "{refused}"
    );
    let staged = StagedFolder::create(&RealDisk, &root.path().join("file")).unwrap();
    fs::write(root.path().join("file"), "came meanwhile").unwrap();
    assert!(matches!(
        staged.publish(Label::default()),
        Err(StorageError::Unpublishable { .. })
    ));
    assert_eq!(fs::read(target.join("thesis.tex")).unwrap(), b"years");
    assert_eq!(
        fs::read(root.path().join("file")).unwrap(),
        b"came meanwhile"
    );
}

#[test]
fn verifying_and_publishing_end_where_the_caller_says_so() {
    use std::cell::Cell;

    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("shard");
    let staged = StagedFolder::create(&RealDisk, &target).unwrap();
    fs::write(staged.path().join("data"), vec![7; 5 << 20]).unwrap();
    let asked = Cell::new(0);
    let twice = || {
        asked.set(asked.get() + 1);
        asked.get() <= 2
    };
    let stopped = staged.publish_while(Label::default(), &twice).unwrap_err();
    assert!(matches!(stopped, StorageError::Stopped { .. }), "{stopped}");
    assert_eq!(asked.get(), 3, "asked before every MiB");
    assert!(
        fs::read_dir(root.path()).unwrap().next().is_none(),
        "nothing is left"
    );

    let (folder, _) = published(root.path());
    let stopped = verify_folder_while(&RealDisk, &folder, None, &|| false).unwrap_err();
    assert!(matches!(stopped, StorageError::Stopped { .. }), "{stopped}");
    verify_folder(&RealDisk, &folder, None).unwrap();
}
