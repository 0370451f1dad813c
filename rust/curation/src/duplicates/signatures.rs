//! Signatures of all documents on disk, and the comparison of candidates.

use std::path::Path;

use super::digest::{digest, number};
use super::spill::Spill;
use crate::error::Result;
use crate::lsh::Bands;
use crate::minhash::{COMPONENTS, Signature, equal_components};
use crate::union_find::UnionFind;

const BYTES: usize = COMPONENTS * size_of::<u32>();

/// At most this many documents under one key are compared all with all; of more, each with this many that follow it in the
/// order of their signatures. It bounds the work on pages made from one template.
pub(crate) const MAX_COMPARED: usize = 1000;

/// The signature of each document by its number.
pub(crate) struct Signatures(Spill);

impl Signatures {
    pub fn new(folder: &Path) -> Result<Self> {
        Ok(Self(Spill::new(folder)?))
    }

    /// Adds the next document's; a document without a word takes its place with one that is never compared.
    pub fn push(&mut self, signature: Option<&Signature>) -> Result<()> {
        let bytes = signature.map_or([0; BYTES], signature_bytes);
        self.0.append(&bytes).map(drop)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.0.flush()
    }

    pub fn get(&self, document: u32, bytes: &mut Vec<u8>) -> Result<Signature> {
        let offset = u64::from(document) * Spill::block_bytes(BYTES);
        self.0.read(offset, BYTES, bytes)?;
        let mut signature = [0; COMPONENTS];
        for (value, four) in signature.iter_mut().zip(bytes.chunks_exact(4)) {
            *value = number(four) as u32;
        }
        Ok(signature)
    }

    pub fn disk_bytes(&self) -> u64 {
        self.0.disk_bytes()
    }

    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

/// A signature as it is on disk.
pub(crate) fn signature_bytes(signature: &Signature) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (place, value) in bytes.chunks_exact_mut(4).zip(signature) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// What comparing candidates found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Pairs of signatures that were compared.
    pub compared: u64,
    /// Of those, near-duplicates.
    pub near: u64,
    /// Pairs under one key that were not compared because too many documents have it.
    pub skipped: u64,
}

/// Unites the near-duplicates among the documents under one key.
pub(crate) fn unite_bucket(
    documents: &[u32],
    signatures: &Signatures,
    bands: &Bands,
    sets: &mut UnionFind,
    pairs: &mut Pairs,
    max_compared: usize,
) -> Result<()> {
    let root = sets.root(documents[0]);
    if documents
        .iter()
        .all(|&document| sets.root(document) == root)
    {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let order = if documents.len() <= max_compared {
        documents.to_vec()
    } else {
        by_signature(documents, signatures)?
    };
    // The signatures of the `max_compared` documents before this one, in a ring.
    let mut ring: Vec<Signature> = Vec::new();
    for (at, &document) in order.iter().enumerate() {
        let signature = signatures.get(document, &mut bytes)?;
        for before in at.saturating_sub(max_compared)..at {
            let other = order[before];
            if sets.root(document) == sets.root(other) {
                continue;
            }
            pairs.compared += 1;
            if bands.is_near(equal_components(&signature, &ring[before % max_compared])) {
                pairs.near += 1;
                sets.unite(document, other);
            }
        }
        pairs.skipped += at.saturating_sub(max_compared) as u64;
        match ring.get_mut(at % max_compared) {
            Some(place) => *place = signature,
            None => ring.push(signature),
        }
    }
    Ok(())
}

/// The documents in an order that depends on their signatures alone, which differ.
fn by_signature(documents: &[u32], signatures: &Signatures) -> Result<Vec<u32>> {
    let mut bytes = Vec::new();
    let mut keyed = Vec::with_capacity(documents.len());
    for &document in documents {
        signatures.get(document, &mut bytes)?;
        keyed.push((digest(&bytes), document));
    }
    keyed.sort_unstable();
    Ok(keyed.into_iter().map(|(_, document)| document).collect())
}
