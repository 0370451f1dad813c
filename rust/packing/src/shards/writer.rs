//! Writing a data set of token shards: documents in, a published folder out.

use std::path::Path;

use stategpt_storage::{Manifest, RealDisk, StagedFolder, StorageError};

use super::column::Column;
use super::describe::{
    Description, MAX_DOCUMENTS, Provenance, ShardCounts, Vocabulary, shard_name,
};
use super::npy::Dtype;
use crate::batch::NO_DOCUMENT;
use crate::error::PackingError;
use crate::histogram::LengthCounter;

/// One document to store: `ids` without end of text.
#[derive(Clone, Copy, Debug)]
pub struct DocumentRef<'a> {
    /// Token ids d1 ... dn.
    pub ids: &'a [u32],
    /// Loss by target: n + 1 entries of 0 or 1, for d1 ... dn and the final end of text. `None` trains all.
    pub mask: Option<&'a [u8]>,
    /// Identity of the document. All documents of a data set have one, or none has.
    pub doc_id: Option<u64>,
}

/// Writes shards into a staged folder that [`ShardWriter::publish`] gives its final name.
///
/// Dropped before that, it leaves nothing behind.
pub struct ShardWriter {
    staged: StagedFolder<'static>,
    vocabulary: Vocabulary,
    max_tokens: u64,
    open: Option<OpenShard>,
    shards: Vec<ShardCounts>,
    lengths: LengthCounter,
    documents: u64,
    tokens: u64,
    document_ids: Option<bool>,
    /// A bit for each id: whether it is below the vocabulary size and no token has it. Empty where there is none.
    gaps: Vec<u64>,
}

struct OpenShard {
    folder: std::path::PathBuf,
    tokens: Column,
    offsets: Column,
    mask: Option<Column>,
    doc_id: Option<Column>,
    counts: ShardCounts,
}

impl ShardWriter {
    /// Starts a data set that will be at `target`, with at most `max_tokens` in a shard (a longer document gets its own).
    pub fn create(
        target: &Path,
        vocabulary: Vocabulary,
        max_tokens: u64,
    ) -> Result<Self, PackingError> {
        if max_tokens == 0 {
            return Err(PackingError::setting(
                "max_tokens",
                max_tokens,
                "a shard holds at least one token",
            ));
        }
        for (name, id) in [
            ("end_of_text", vocabulary.end_of_text),
            ("padding", vocabulary.padding),
        ] {
            if id >= vocabulary.size {
                let rule = format!("it must be below the vocabulary size {}", vocabulary.size);
                return Err(PackingError::setting(name, id, rule));
            }
        }
        Ok(Self {
            staged: StagedFolder::create(&RealDisk, target)?,
            vocabulary,
            max_tokens,
            open: None,
            shards: Vec::new(),
            lengths: LengthCounter::default(),
            documents: 0,
            tokens: 0,
            document_ids: None,
            gaps: Vec::new(),
        })
    }

    /// What it was told of the tokenizer.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Refuses these ids too: gaps of the vocabulary, which no token has.
    pub fn with_gaps(mut self, gaps: &[u32]) -> Self {
        self.gaps.clear();
        for gap in gaps.iter().filter(|gap| **gap < self.vocabulary.size) {
            let word = *gap as usize / 64;
            self.gaps.resize(self.gaps.len().max(word + 1), 0);
            self.gaps[word] |= 1 << (gap % 64);
        }
        self
    }

    /// Documents taken so far.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Tokens taken so far, end of text not counted.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Stores one document. O(n). After an error the data set cannot be published whole, so drop the writer.
    pub fn push(&mut self, document: DocumentRef<'_>) -> Result<(), PackingError> {
        self.check(&document)?;
        let has_id = document.doc_id.is_some();
        let length = document.ids.len() as u64;
        let full = |shard: &OpenShard| {
            shard.counts.documents > 0 && shard.counts.tokens + length > self.max_tokens
        };
        if self.open.as_ref().is_some_and(full) {
            self.close_shard()?;
        }
        if self.open.is_none() {
            self.open = Some(self.open_shard(has_id)?);
        }
        if let Some(shard) = &mut self.open {
            shard.push(document)?;
        }
        self.lengths.add(length);
        self.documents += 1;
        self.tokens += length;
        Ok(())
    }

    fn check(&mut self, document: &DocumentRef<'_>) -> Result<(), PackingError> {
        let number = self.documents;
        let bad = |reason: String| {
            Err(PackingError::BadDocument {
                document: number,
                reason,
            })
        };
        if let Some(index) = self.first_unknown(document.ids) {
            return Err(PackingError::UnknownToken {
                document: number,
                index,
                id: document.ids[index],
                vocab_size: self.vocabulary.size,
            });
        }
        if let Some(mask) = document.mask {
            let expected = document.ids.len() + 1;
            if mask.len() != expected {
                let found = mask.len();
                return bad(format!(
                    "its mask has {found} entries; {expected} are needed, one for each token and one for the end of text"
                ));
            }
            if let Some(index) = mask.iter().position(|entry| *entry > 1) {
                return bad(format!(
                    "its mask has {} at {index}; entries are 0 or 1",
                    mask[index]
                ));
            }
            if !mask.contains(&1) {
                return bad(
                    "its mask trains no target; leave the document out or correct the mask"
                        .to_string(),
                );
            }
        }
        if *self.document_ids.get_or_insert(document.doc_id.is_some()) != document.doc_id.is_some()
        {
            return bad(
                "some documents have a doc_id and some have none; give all of them one or none"
                    .to_string(),
            );
        }
        if document.doc_id == Some(NO_DOCUMENT) {
            return bad(format!(
                "its doc_id {NO_DOCUMENT} is reserved for padding; give it another one"
            ));
        }
        if number >= MAX_DOCUMENTS {
            return bad(format!(
                "a data set holds at most {MAX_DOCUMENTS} documents; write a second one"
            ));
        }
        Ok(())
    }

    /// Place of the first id that no token has.
    fn first_unknown(&self, ids: &[u32]) -> Option<usize> {
        let highest = ids.iter().fold(0, |highest, id| highest.max(*id));
        if highest < self.vocabulary.size && self.gaps.is_empty() {
            return None;
        }
        let is_gap = |id: &u32| {
            let word = self.gaps.get(*id as usize / 64).copied().unwrap_or(0);
            word >> (id % 64) & 1 == 1
        };
        ids.iter()
            .position(|id| *id >= self.vocabulary.size || is_gap(id))
    }

    fn open_shard(&mut self, has_id: bool) -> Result<OpenShard, StorageError> {
        let folder = self.staged.path().join(shard_name(self.shards.len()));
        std::fs::create_dir(&folder).map_err(|error| StorageError::io("create", &folder, error))?;
        let mut offsets = Column::create(folder.join("offsets.npy"), Dtype::U64)?;
        offsets.push(0)?;
        Ok(OpenShard {
            tokens: Column::create(
                folder.join("tokens.npy"),
                Dtype::of_vocabulary(self.vocabulary.size),
            )?,
            offsets,
            mask: None,
            doc_id: has_id
                .then(|| Column::create(folder.join("doc_id.npy"), Dtype::U64))
                .transpose()?,
            folder,
            counts: ShardCounts::default(),
        })
    }

    fn close_shard(&mut self) -> Result<(), StorageError> {
        let Some(shard) = self.open.take() else {
            return Ok(());
        };
        shard.tokens.finish()?;
        shard.offsets.finish()?;
        shard.mask.map_or(Ok(()), Column::finish)?;
        shard.doc_id.map_or(Ok(()), Column::finish)?;
        self.shards.push(shard.counts);
        Ok(())
    }

    /// Publishes the data set under its final name; the manifest is the commit.
    pub fn publish(self, provenance: Provenance) -> Result<Manifest, PackingError> {
        self.publish_while(provenance, &|| true)
    }

    /// As [`ShardWriter::publish`], and ends when `should_continue` says no; then nothing is published.
    pub fn publish_while(
        mut self,
        provenance: Provenance,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Manifest, PackingError> {
        self.close_shard()?;
        let Provenance {
            source,
            license,
            parents,
        } = provenance;
        let Vocabulary {
            fingerprint,
            size,
            end_of_text,
            padding,
        } = self.vocabulary;
        let description = Description {
            vocab_size: size,
            end_of_text,
            padding,
            documents: self.documents,
            tokens: self.tokens,
            document_ids: self.document_ids.unwrap_or(false),
            length_histogram: self.lengths.into_histogram(),
            shards: self.shards,
            source,
            license,
        };
        Ok(self.staged.publish_while(
            description.into_label(fingerprint, parents),
            should_continue,
        )?)
    }
}

impl OpenShard {
    fn push(&mut self, document: DocumentRef<'_>) -> Result<(), StorageError> {
        if document.mask.is_some() && self.mask.is_none() {
            let mut mask = Column::create(self.folder.join("mask.npy"), Dtype::U8)?;
            mask.repeat(1, self.counts.tokens + self.counts.documents)?;
            self.mask = Some(mask);
            self.counts.masked = true;
        }
        if let Some(column) = &mut self.mask {
            match document.mask {
                Some(mask) => column.extend_bytes(mask)?,
                None => column.repeat(1, document.ids.len() as u64 + 1)?,
            }
        }
        if let (Some(column), Some(doc_id)) = (&mut self.doc_id, document.doc_id) {
            column.push(doc_id)?;
        }
        self.tokens.extend_ids(document.ids)?;
        self.counts.documents += 1;
        self.counts.tokens += document.ids.len() as u64;
        self.offsets.push(self.counts.tokens)
    }
}
