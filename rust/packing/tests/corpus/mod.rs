//! A small corpus of numbered tokens, published in a temporary folder.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use stategpt_packing::{Dataset, DocumentRef, Provenance, ShardWriter, Vocabulary};
use tempfile::TempDir;

pub const END_OF_TEXT: u32 = 0;
pub const PADDING: u32 = 1;

#[derive(Debug)]
pub struct Corpus {
    pub documents: Vec<Vec<u32>>,
    pub masks: Vec<Option<Vec<u8>>>,
    with_ids: bool,
    folder: TempDir,
}

pub fn vocabulary(size: u32) -> Vocabulary {
    Vocabulary {
        fingerprint: "b3:test".into(),
        size,
        end_of_text: END_OF_TEXT,
        padding: PADDING,
    }
}

impl Corpus {
    /// Documents of the given lengths. No two tokens are equal, so a token tells where it is from. With `masked`, every
    /// other document trains only the second half of its targets, and documents have ids of their own.
    pub fn of_lengths(lengths: &[usize], max_tokens: u64, masked: bool) -> Self {
        let mut next = 2;
        let documents: Vec<Vec<u32>> = lengths
            .iter()
            .map(|length| {
                let ids = (next..next + *length as u32).collect();
                next += *length as u32;
                ids
            })
            .collect();
        let mask = |number: usize, tokens: usize| {
            (masked && number % 2 == 1)
                .then(|| (0..=tokens).map(|at| u8::from(at >= tokens / 2)).collect())
        };
        let masks = documents
            .iter()
            .enumerate()
            .map(|(number, ids)| mask(number, ids.len()))
            .collect();
        let corpus = Self {
            documents,
            masks,
            with_ids: masked,
            folder: TempDir::new().unwrap(),
        };
        corpus.write(max_tokens);
        corpus
    }

    fn write(&self, max_tokens: u64) {
        let size = 2 + self.tokens() as u32;
        let mut writer = ShardWriter::create(&self.root(), vocabulary(size), max_tokens).unwrap();
        for (number, (ids, mask)) in self.documents.iter().zip(&self.masks).enumerate() {
            let doc_id = self.with_ids.then(|| self.doc_id(number));
            writer
                .push(DocumentRef {
                    ids,
                    mask: mask.as_deref(),
                    doc_id,
                })
                .unwrap();
        }
        writer.publish(Provenance::default()).unwrap();
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn open(&self) -> Dataset {
        Dataset::open(&self.root()).unwrap()
    }

    pub fn doc_id(&self, number: usize) -> u64 {
        if self.with_ids {
            1000 + 7 * number as u64
        } else {
            number as u64
        }
    }

    pub fn tokens(&self) -> u64 {
        self.documents.iter().map(|ids| ids.len() as u64).sum()
    }

    /// `(input, target, trained)` of each document's segment, by document id.
    pub fn segments(&self) -> BTreeMap<u64, Vec<(u32, u32, bool)>> {
        let segment = |number: usize| {
            let ids = &self.documents[number];
            let inputs = std::iter::once(END_OF_TEXT).chain(ids.iter().copied());
            let targets = ids.iter().copied().chain([END_OF_TEXT]);
            let trained = |at: usize| self.masks[number].as_ref().is_none_or(|mask| mask[at] == 1);
            inputs
                .zip(targets)
                .enumerate()
                .map(|(at, (input, target))| (input, target, trained(at)))
                .collect()
        };
        (0..self.documents.len())
            .map(|number| (self.doc_id(number), segment(number)))
            .collect()
    }
}
