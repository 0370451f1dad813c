//! Reading a published data set of token shards.

use std::path::{Path, PathBuf};

use stategpt_storage::{Manifest, RealDisk, expect_kind, read_manifest, verify_folder_while};

use super::describe::{Description, KIND, TOKENIZER};
use super::files::{Files, Part};
use super::npy::{Dtype, HEADER_BYTES};
use crate::error::PackingError;

/// Elements decoded at a time when a whole column is read.
const CHUNK_ELEMENTS: u64 = 1 << 16;

/// The place of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Number of the document in the data set.
    pub document: u64,
    /// Its shard.
    pub shard: usize,
    /// Its number within the shard.
    pub local: u64,
    /// First token within the shard.
    pub start: u64,
    /// Tokens, end of text not counted.
    pub tokens: u64,
}

/// A data set opened for reading. Safe to share between threads and across a fork.
#[derive(Debug)]
pub struct Dataset {
    root: PathBuf,
    manifest: Manifest,
    description: Description,
    files: Files,
    /// First document of each shard, and the number of documents at the end.
    document_starts: Vec<u64>,
    /// First place of each shard in the stream `EOS d1 ... dn EOS ...`, and its length at the end.
    stream_starts: Vec<u64>,
}

impl Dataset {
    /// Opens a published data set and checks size and header of every file; contents are for [`Dataset::verify`].
    pub fn open(root: &Path) -> Result<Self, PackingError> {
        let manifest = read_manifest(&RealDisk, root)?;
        expect_kind(&manifest, KIND, root)?;
        let description = Description::of(&manifest)?;
        let (mut documents, mut stream) = (0, 0);
        let (mut document_starts, mut stream_starts) = (vec![0], vec![0]);
        for shard in &description.shards {
            // `Description::of` has checked that these sums fit.
            documents += shard.documents;
            stream += shard.tokens + shard.documents;
            document_starts.push(documents);
            stream_starts.push(stream);
        }
        let files = Files::new(root);
        let dataset = Self {
            root: root.to_path_buf(),
            manifest,
            description,
            files,
            document_starts,
            stream_starts,
        };
        dataset.check_files()?;
        Ok(dataset)
    }

    fn check_files(&self) -> Result<(), PackingError> {
        for (number, shard) in self.description.shards.iter().enumerate() {
            self.files.check(
                number,
                Part::Tokens,
                self.description.token_dtype(),
                shard.tokens,
            )?;
            self.files
                .check(number, Part::Offsets, Dtype::U64, shard.documents + 1)?;
            if shard.masked {
                self.files.check(
                    number,
                    Part::Mask,
                    Dtype::U8,
                    shard.tokens + shard.documents,
                )?;
            }
            if self.description.document_ids {
                self.files
                    .check(number, Part::DocId, Dtype::U64, shard.documents)?;
            }
            self.check_ends(number)?;
        }
        Ok(())
    }

    /// The offsets of a shard begin with 0 and end with its tokens.
    fn check_ends(&self, shard: usize) -> Result<(), PackingError> {
        let counts = &self.description.shards[shard];
        for (local, wanted) in [(0, 0), (counts.documents, counts.tokens)] {
            let found = self.number(shard, Part::Offsets, local)?;
            if found != wanted {
                return Err(PackingError::Corrupt {
                    path: self.files.path(shard, Part::Offsets),
                    offset: HEADER_BYTES as u64 + local * 8,
                    reason: format!("offset {local} is {found}; the manifest asks for {wanted}"),
                });
            }
        }
        Ok(())
    }

    /// Reads everything and compares it with the hashes of the manifest. About a second for each 2 GB.
    pub fn verify(&self) -> Result<(), PackingError> {
        self.verify_while(&|| true)
    }

    /// As [`Dataset::verify`], and ends with `Stopped` when `should_continue`, called for every MiB, returns false.
    pub fn verify_while(&self, should_continue: &dyn Fn() -> bool) -> Result<(), PackingError> {
        let found = verify_folder_while(&RealDisk, &self.root, Some(KIND), should_continue)?;
        if found.fingerprint == self.manifest.fingerprint {
            return Ok(());
        }
        Err(PackingError::Foreign {
            what: format!("what is now at {}", self.root.display()),
            expected: self.manifest.fingerprint.clone(),
            found: found.fingerprint,
            advice: "It was replaced after it was opened. Open it again.",
        })
    }

    /// Refuses a data set of another tokenizer.
    pub fn expect_tokenizer(&self, fingerprint: &str) -> Result<(), PackingError> {
        if self.tokenizer_fingerprint() == fingerprint {
            return Ok(());
        }
        Err(PackingError::Foreign {
            what: format!("the tokenizer of {}", self.root.display()),
            expected: fingerprint.to_string(),
            found: self.tokenizer_fingerprint().to_string(),
            advice: "Load the tokenizer these shards were written with, or write them again.",
        })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Counts, histogram and provenance.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Fingerprint of the tokenizer the tokens are of.
    pub fn tokenizer_fingerprint(&self) -> &str {
        self.manifest
            .fingerprints
            .get(TOKENIZER)
            .map_or("", String::as_str)
    }

    /// Tokens of the stream `EOS d1 ... dn EOS ...`: those of all documents and one for each.
    pub fn stream_tokens(&self) -> u64 {
        self.stream_starts.last().copied().unwrap_or(0)
    }

    /// The place of document `number`. O(log shards) and one read.
    pub fn span(&self, number: u64) -> Result<Span, PackingError> {
        let documents = self.description.documents;
        if number >= documents {
            return Err(PackingError::NoSuchDocument {
                document: number,
                documents,
            });
        }
        let shard = self
            .document_starts
            .partition_point(|start| *start <= number)
            - 1;
        self.span_in(shard, number - self.document_starts[shard])
    }

    /// The document that covers place `place` of the stream, and the place where its segment starts.
    /// O(log documents) reads.
    pub fn span_at(&self, place: u64) -> Result<(Span, u64), PackingError> {
        let documents = self.description.documents;
        if place >= self.stream_tokens() {
            return Err(PackingError::NoSuchDocument {
                document: documents,
                documents,
            });
        }
        let shard = self.stream_starts.partition_point(|start| *start <= place) - 1;
        let within = place - self.stream_starts[shard];
        // Segment i starts at offsets[i] + i: find the last one at or before `within`.
        let (mut low, mut high) = (0, self.description.shards[shard].documents);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let start = self
                .number(shard, Part::Offsets, middle)?
                .saturating_add(middle);
            if start <= within {
                low = middle
            } else {
                high = middle
            }
        }
        let span = self.span_in(shard, low)?;
        let segment_start = span.start + low;
        if segment_start > within || within - segment_start > span.tokens {
            return Err(self.bad_offset(&span, format!("no document covers place {within}")));
        }
        Ok((span, self.stream_starts[shard] + segment_start))
    }

    fn span_in(&self, shard: usize, local: u64) -> Result<Span, PackingError> {
        let mut bytes = [0; 16];
        self.files
            .read(shard, Part::Offsets, 8, local, &mut bytes)?;
        let (start, end) = (le_u64(&bytes[..8]), le_u64(&bytes[8..]));
        let document = self.document_starts[shard] + local;
        let span = Span {
            document,
            shard,
            local,
            start,
            tokens: end.saturating_sub(start),
        };
        let tokens = self.description.shards[shard].tokens;
        if start > end || end > tokens {
            return Err(self.bad_offset(
                &span,
                format!("it spans tokens {start} to {end} of {tokens}"),
            ));
        }
        Ok(span)
    }

    fn bad_offset(&self, span: &Span, reason: String) -> PackingError {
        PackingError::Corrupt {
            path: self.files.path(span.shard, Part::Offsets),
            offset: HEADER_BYTES as u64 + span.local * 8,
            reason: format!("document {} of the shard: {reason}", span.local),
        }
    }

    /// Element `index` of a column of u64.
    fn number(&self, shard: usize, part: Part, index: u64) -> Result<u64, PackingError> {
        let mut bytes = [0; 8];
        self.files.read(shard, part, 8, index, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads tokens `from..from + out.len()` of the document at `span`. `bytes` is scratch space.
    pub fn read_tokens(
        &self,
        span: &Span,
        from: u64,
        out: &mut [u32],
        bytes: &mut Vec<u8>,
    ) -> Result<(), PackingError> {
        if out.is_empty() {
            return Ok(());
        }
        let (dtype, first) = (self.description.token_dtype(), span.start + from);
        bytes.resize(out.len() * dtype.bytes(), 0);
        self.files
            .read(span.shard, Part::Tokens, dtype.bytes(), first, bytes)?;
        let largest = decode(dtype, bytes, out);
        if largest < self.description.vocab_size {
            return Ok(());
        }
        let at = out.iter().position(|id| *id == largest).unwrap_or(0) as u64;
        Err(PackingError::Corrupt {
            path: self.files.path(span.shard, Part::Tokens),
            offset: HEADER_BYTES as u64 + (first + at) * dtype.bytes() as u64,
            reason: format!(
                "token id {largest} is outside the vocabulary of {}",
                self.description.vocab_size
            ),
        })
    }

    /// Reads the loss mask of targets `from..from + out.len()` of the document at `span`; all true without a mask file.
    pub fn read_mask(
        &self,
        span: &Span,
        from: u64,
        out: &mut [bool],
        bytes: &mut Vec<u8>,
    ) -> Result<(), PackingError> {
        if !self.description.shards[span.shard].masked {
            out.fill(true);
            return Ok(());
        }
        bytes.resize(out.len(), 0);
        self.files.read(
            span.shard,
            Part::Mask,
            1,
            span.start + span.local + from,
            bytes,
        )?;
        out.iter_mut()
            .zip(bytes)
            .for_each(|(out, byte)| *out = *byte != 0);
        Ok(())
    }

    /// Identity of the document at `span`: its stored id, or its number.
    pub fn doc_id(&self, span: &Span) -> Result<u64, PackingError> {
        if !self.description.document_ids {
            return Ok(span.document);
        }
        self.number(span.shard, Part::DocId, span.local)
    }

    /// Calls `visit` with the length of every document, in order. Reads all offsets, 8 bytes a document.
    pub fn lengths(&self, mut visit: impl FnMut(u64)) -> Result<(), PackingError> {
        let mut bytes = Vec::new();
        for (shard, counts) in self.description.shards.iter().enumerate() {
            let (mut at, mut before) = (0, None);
            while at <= counts.documents {
                let take = CHUNK_ELEMENTS.min(counts.documents + 1 - at);
                bytes.resize(take as usize * 8, 0);
                self.files.read(shard, Part::Offsets, 8, at, &mut bytes)?;
                for (i, offset) in bytes.chunks_exact(8).map(le_u64).enumerate() {
                    if before.is_some_and(|before| before > offset) {
                        return Err(PackingError::Corrupt {
                            path: self.files.path(shard, Part::Offsets),
                            offset: HEADER_BYTES as u64 + (at + i as u64) * 8,
                            reason: format!("offset {offset} is below the one before it"),
                        });
                    }
                    before
                        .replace(offset)
                        .into_iter()
                        .for_each(|before| visit(offset - before));
                }
                at += take;
            }
        }
        Ok(())
    }
}

/// The number in the first eight bytes.
fn le_u64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// Decodes little-endian ids and returns the largest.
fn decode(dtype: Dtype, bytes: &[u8], out: &mut [u32]) -> u32 {
    let mut largest = 0;
    match dtype {
        Dtype::U16 => {
            for (out, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                *out = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
                largest = largest.max(*out);
            }
        }
        _ => {
            for (out, quad) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *out = u32::from_le_bytes([quad[0], quad[1], quad[2], quad[3]]);
                largest = largest.max(*out);
            }
        }
    }
    largest
}
