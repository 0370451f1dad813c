//! The write protocol: how stategpt puts anything on a disk.
//!
//! Everything that others rely on is *published*: written under a temporary name in the target folder while it is
//! hashed, fsynced, renamed, and the folder fsynced. After any error, kill or power loss a published name holds the old
//! content or the new, whole; what was acknowledged stays. Published files are never opened for writing.
//!
//! # Key types
//! * [`publish_file`] / [`publish_bytes`]: one file.
//! * [`publish_folder`] / [`StagedFolder`]: many files and a [`Manifest`] with sizes, BLAKE3 hashes and parents.
//! * [`verify_folder`], [`read_verified`]: every missing, truncated, altered or extra file is found and named.
//! * [`fingerprint`]: the identity of a JSON value.
//! * [`append_line`]: logs, which are appended to and not published.
//! * [`open_regular`]: for paths that come from outside: regular files only, never waiting.
//! * [`Storage`]: the operations all of this needs; [`RealDisk`], and [`simulated`] disks that fail or
//!   lose power.
//!
//! # Not for
//! Databases and files changed in place; hiding content from, or proving it to, an attacker: a fingerprint is no
//! signature.

mod canonical;
mod disk;
mod error;
mod file;
mod folder;
mod hash;
mod lines;
mod manifest;
mod reading;
mod regular;
pub mod simulated;
mod staging;
mod verify;
mod visible;

pub use canonical::{canonical_json, fingerprint, fingerprint_bytes, fingerprint_json};
pub use disk::{EntryKind, Hold, RealDisk, Storage, StorageFile};
pub use error::{Damage, StorageError};
pub use file::{FileWriter, publish_bytes, publish_file};
pub use folder::{StagedFolder, publish_folder};
pub use hash::{CHUNK_BYTES, FileHasher, FileRecord};
pub use lines::append_line;
pub use manifest::{Label, MANIFEST_NAME, Manifest, SCHEMA_VERSION, expect_kind, read_manifest};
pub use reading::hash_file;
pub use regular::open_regular;
pub use verify::{read_verified, verify_file, verify_folder, verify_folder_while};
