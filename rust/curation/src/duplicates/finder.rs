//! Finds duplicates in two passes over the documents: `add` all, `compare`, then `decide` on each in the same order.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::digest::{digest, number};
use super::documents::{Documents, Place};
use super::signatures::{MAX_COMPARED, Pairs, Signatures, signature_bytes, unite_bucket};
use super::sorted_runs::{Record, Sorter};
use crate::error::{Error, Result};
use crate::lsh::{BandEntry, Bands};
use crate::minhash::{Scratch, Signature, equal_components, hash_bytes, signature};
use crate::parallel::in_parts;
use crate::union_find::UnionFind;

/// What duplicates are, and where and how to look for them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// None: equal texts. Otherwise near-duplicates.
    pub bands: Option<Bands>,
    /// Names of sources, most preferred first; the others follow by name.
    pub priority: Vec<String>,
    /// An existing folder for temporary files.
    pub folder: PathBuf,
    /// Memory for sorting. A finder also holds 4 bytes per document, 8 per cluster, and names of files.
    pub memory_bytes: usize,
}

/// The kept document that a removed one is a duplicate of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// Its number in the input, from 0.
    pub number: u32,
    /// Where it was read from.
    pub place: Place,
    /// Components of 128 in which both signatures agree; 128 for equal texts.
    pub equal: u32,
}

/// Counts of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents added.
    pub documents: u64,
    /// Clusters of more than one document.
    pub clusters: u64,
    /// Documents that a twin is kept for.
    pub removed: u64,
    /// Comparisons of signatures.
    pub pairs: Pairs,
}

/// What is computed of one document, in any thread.
struct Prepared {
    digest: u128,
    check: u64,
    signature: Option<Signature>,
}

/// A document under the digest of its text or signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct DigestEntry {
    digest: u128,
    document: u32,
}

impl Record for DigestEntry {
    const BYTES: usize = 20;

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.digest.to_le_bytes());
        bytes.extend_from_slice(&self.document.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Self {
        Self {
            digest: number(&bytes[..16]),
            document: number(&bytes[16..20]) as u32,
        }
    }
}

/// The state between the passes.
struct Compared {
    sets: UnionFind,
    /// By root of a cluster: the document that is kept.
    kept: HashMap<u32, u32>,
    /// The document that `decide` expects next.
    next: u32,
}

impl Compared {
    /// The kept twin of a document that is removed.
    fn kept_of(&mut self, document: u32) -> Option<u32> {
        let root = self.sets.root(document);
        let kept = self.kept.get(&root).copied();
        kept.filter(|kept| *kept != document)
    }
}

/// A search for duplicates.
pub struct Finder {
    bands: Option<Bands>,
    documents: Documents,
    signatures: Option<Signatures>,
    /// None after the comparison.
    digests: Option<Sorter<DigestEntry>>,
    keys: Option<Sorter<BandEntry>>,
    compared: Option<Compared>,
    counts: Counts,
    max_compared: usize,
}

impl Finder {
    /// Begins a search; temporary files are made in the folder at once.
    pub fn new(settings: Settings) -> Result<Self> {
        let folder: &Path = &settings.folder;
        let shares = if settings.bands.is_some() { 4 } else { 1 };
        let keys_bytes = settings.memory_bytes / 4 * 3;
        Ok(Self {
            signatures: settings
                .bands
                .map(|_| Signatures::new(folder))
                .transpose()?,
            digests: Some(Sorter::new(folder, settings.memory_bytes / shares)),
            keys: settings.bands.map(|_| Sorter::new(folder, keys_bytes)),
            documents: Documents::new(folder, settings.priority)?,
            bands: settings.bands,
            compared: None,
            counts: Counts::default(),
            max_compared: MAX_COMPARED,
        })
    }

    /// Adds the next documents; their texts are prepared by up to `threads` threads.
    pub fn add(&mut self, texts: &[&str], places: &[Place], threads: usize) -> Result<()> {
        let Some(digests) = &mut self.digests else {
            let what = "add was called";
            return Err(Error::Closed { what });
        };
        let is_near = self.bands.is_some();
        let prepared = in_parts(texts, threads, |part| prepare(part, is_near));
        for (prepared, place) in prepared.iter().zip(places) {
            let document = self
                .documents
                .push(place, prepared.digest, prepared.check)?;
            let mut digest = Some(prepared.digest);
            if let Some(signatures) = &mut self.signatures {
                signatures.push(prepared.signature.as_ref())?;
                digest = prepared.signature.as_ref().map(signature_digest);
            }
            if let Some(digest) = digest {
                digests.push(DigestEntry { digest, document })?;
            }
            if let (Some(bands), Some(keys), Some(signature)) =
                (&self.bands, &mut self.keys, &prepared.signature)
            {
                for key in bands.keys(signature) {
                    keys.push(BandEntry { key, document })?;
                }
            }
        }
        self.counts.documents = u64::from(self.documents.count());
        Ok(())
    }

    /// Compares all documents, and chooses the one of each cluster that is kept.
    pub fn compare(&mut self, should_continue: &dyn Fn() -> bool) -> Result<Counts> {
        let Some(digests) = self.digests.take() else {
            let what = "compare was called";
            return Err(Error::Closed { what });
        };
        self.documents.flush()?;
        let mut sets = UnionFind::new(self.documents.count());
        // Documents with the signature of one before them have the same neighbors: bands need only the first.
        let mut is_repeated = vec![0_u64; (self.documents.count() as usize).div_ceil(64)];
        let (mut merged, mut group) = (digests.merged()?, Vec::new());
        while merged.next_group(&mut group, |one, other| one.digest == other.digest)? {
            check(should_continue)?;
            for entry in &group[1..] {
                sets.unite(group[0].document, entry.document);
                is_repeated[entry.document as usize / 64] |= 1 << (entry.document % 64);
            }
        }
        drop(merged);
        self.compare_keys(&mut sets, &is_repeated, should_continue)?;
        let kept = self.choose(&mut sets, should_continue)?;
        self.compared = Some(Compared {
            sets,
            kept,
            next: 0,
        });
        Ok(self.counts)
    }

    /// For the next documents: None if it is kept, else its twin.
    pub fn decide(&mut self, texts: &[&str]) -> Result<Vec<Option<Twin>>> {
        let Some(compared) = &mut self.compared else {
            return Err(not_compared("decide"));
        };
        let mut bytes = Vec::new();
        let mut decisions = Vec::with_capacity(texts.len());
        for text in texts {
            let document = compared.next;
            if document >= self.documents.count() {
                return Err(changed(document, "there are more than in the first pass"));
            }
            if self.documents.row(document, &mut bytes)?.check != text_check(text) {
                return Err(changed(document, "it has another text"));
            }
            compared.next += 1;
            let kept = compared.kept_of(document);
            let twin = kept.map(|kept| {
                twin(
                    &self.documents,
                    self.signatures.as_ref(),
                    document,
                    kept,
                    &mut bytes,
                )
            });
            decisions.push(twin.transpose()?);
        }
        Ok(decisions)
    }

    /// Up to `limit` removed documents from number `from` on, without their texts.
    pub fn removed(&mut self, from: u32, limit: usize) -> Result<Vec<(u32, Twin)>> {
        let Some(compared) = &mut self.compared else {
            return Err(not_compared("removed"));
        };
        let (mut bytes, mut found) = (Vec::new(), Vec::new());
        for document in from..self.documents.count() {
            if found.len() == limit {
                break;
            }
            if let Some(kept) = compared.kept_of(document) {
                let signatures = self.signatures.as_ref();
                let twin = twin(&self.documents, signatures, document, kept, &mut bytes)?;
                found.push((document, twin));
            }
        }
        Ok(found)
    }

    /// Checks that the second pass had all documents.
    pub fn finish(&self) -> Result<()> {
        match &self.compared {
            Some(compared) if compared.next < self.documents.count() => {
                Err(changed(compared.next, "the second pass ended before it"))
            }
            _ => Ok(()),
        }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let sets = self.compared.as_ref().map_or(0, |compared| {
            compared.sets.memory_bytes() + compared.kept.capacity() * (2 * size_of::<u32>() + 1)
        });
        self.documents.memory_bytes()
            + self.digests.as_ref().map_or(0, Sorter::memory_bytes)
            + self.keys.as_ref().map_or(0, Sorter::memory_bytes)
            + self.signatures.as_ref().map_or(0, Signatures::memory_bytes)
            + sets
    }

    /// Bytes of temporary files.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.documents.disk_bytes()
            + self.digests.as_ref().map_or(0, Sorter::disk_bytes)
            + self.keys.as_ref().map_or(0, Sorter::disk_bytes)
            + self.signatures.as_ref().map_or(0, Signatures::disk_bytes)
    }

    fn compare_keys(
        &mut self,
        sets: &mut UnionFind,
        is_repeated: &[u64],
        should_continue: &dyn Fn() -> bool,
    ) -> Result<()> {
        let (Some(bands), Some(keys), Some(signatures)) =
            (self.bands, self.keys.take(), &mut self.signatures)
        else {
            return Ok(());
        };
        signatures.flush()?;
        let (mut merged, mut group, mut documents) = (keys.merged()?, Vec::new(), Vec::new());
        while merged.next_group(&mut group, |one, other| one.key == other.key)? {
            check(should_continue)?;
            documents.clear();
            let numbers = group.iter().map(|entry: &BandEntry| entry.document);
            documents.extend(
                numbers
                    .filter(|number| is_repeated[*number as usize / 64] >> (number % 64) & 1 == 0),
            );
            if documents.len() > 1 {
                let pairs = &mut self.counts.pairs;
                unite_bucket(
                    &documents,
                    signatures,
                    &bands,
                    sets,
                    pairs,
                    self.max_compared,
                )?;
            }
        }
        Ok(())
    }

    /// The document of each cluster that comes first in the order of `Documents::compare`.
    fn choose(
        &mut self,
        sets: &mut UnionFind,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<HashMap<u32, u32>> {
        let count = self.documents.count();
        let mut kept: HashMap<u32, u32> = HashMap::new();
        let (mut bytes, mut removed) = (Vec::new(), 0);
        for document in 0..count {
            let root = sets.root(document);
            if root == document {
                continue;
            }
            check(should_continue)?;
            removed += 1;
            // The root is the smallest number of its cluster.
            let best = kept.entry(root).or_insert(root);
            let row = self.documents.row(document, &mut bytes)?;
            let best_row = self.documents.row(*best, &mut bytes)?;
            if self.documents.compare(&row, &best_row).is_lt() {
                *best = document;
            }
        }
        self.counts.removed = removed;
        self.counts.clusters = kept.len() as u64;
        Ok(kept)
    }

    /// For tests: a smaller limit on comparisons under one key.
    #[cfg(test)]
    pub(crate) fn limit_comparisons(&mut self, limit: usize) {
        self.max_compared = limit;
    }
}

/// What is computed of each text.
fn prepare(texts: &[&str], is_near: bool) -> Vec<Prepared> {
    let mut scratch = Scratch::default();
    let of_text = |text: &&str| Prepared {
        digest: digest(text.as_bytes()),
        check: text_check(text),
        signature: is_near.then(|| signature(text, &mut scratch)).flatten(),
    };
    texts.iter().map(of_text).collect()
}

fn text_check(text: &str) -> u64 {
    hash_bytes(text.as_bytes(), 1)
}

fn signature_digest(signature: &Signature) -> u128 {
    digest(&signature_bytes(signature))
}

fn twin(
    documents: &Documents,
    signatures: Option<&Signatures>,
    document: u32,
    kept: u32,
    bytes: &mut Vec<u8>,
) -> Result<Twin> {
    Ok(Twin {
        number: kept,
        place: documents.place(&documents.row(kept, bytes)?),
        equal: equal(signatures, document, kept, bytes)?,
    })
}

fn equal(
    signatures: Option<&Signatures>,
    document: u32,
    kept: u32,
    bytes: &mut Vec<u8>,
) -> Result<u32> {
    let Some(signatures) = signatures else {
        return Ok(crate::minhash::COMPONENTS as u32);
    };
    let own = signatures.get(document, bytes)?;
    Ok(equal_components(&own, &signatures.get(kept, bytes)?))
}

fn check(should_continue: &dyn Fn() -> bool) -> Result<()> {
    if should_continue() {
        Ok(())
    } else {
        Err(Error::Stopped)
    }
}

fn not_compared(name: &'static str) -> Error {
    Error::Setting {
        name,
        value: "called before compare".to_owned(),
        rule: "add all documents and compare them first",
    }
}

fn changed(document: u32, reason: &'static str) -> Error {
    Error::Changed {
        document: u64::from(document),
        reason,
    }
}
