//! Encodes many documents in parallel, on threads that live as long as the call: no thread pool to be lost at `fork`.

use crate::cancel::CancelFlag;
use crate::encode::document::{count_ids, encode_into};
use crate::encode::in_order::{Part, in_order};
use crate::encode::ragged::Ragged;
use crate::encode::scratch::Scratch;
use crate::encode::scratch_pool::ScratchPool;
use crate::encode::tables::Tables;
use crate::error::Result;
use crate::memory::reserve;
use crate::model::Model;
use crate::reading::{Reading, lines, read_text};
use crate::special::Special;
use crate::split_point::{first_split_point, has_split_points};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of text in a job. Smaller batches are not worth a thread.
const GROUP_BYTES: usize = 1 << 18;
/// Texts of at least this size are split into chunks, so that several threads can share one.
const LARGE_BYTES: usize = 4 * GROUP_BYTES;

/// A job: some whole documents, or a chunk of one.
struct Group {
    documents: Range<usize>,
    /// The chunk of the only document; `None`: all of it.
    bytes: Option<Range<usize>>,
}

impl Group {
    fn whole(documents: Range<usize>) -> Self {
        Self {
            documents,
            bytes: None,
        }
    }

    /// Whether its document began in the previous job.
    fn continues(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| bytes.start > 0)
    }

    fn texts<'t, T: AsRef<[u8]>>(&self, texts: &'t [T]) -> impl Iterator<Item = &'t [u8]> {
        texts[self.documents.clone()].iter().map(|text| {
            let text = text.as_ref();
            self.bytes
                .as_ref()
                .map_or(text, |bytes| &text[bytes.clone()])
        })
    }
}

/// Arguments of one call.
#[derive(Clone, Copy)]
pub struct BatchEncoder<'c> {
    /// The tables of the tokenizer.
    pub tables: &'c Tables,
    /// Its pool of scratches.
    pub pool: &'c ScratchPool,
    /// What happens to text that spells an added token.
    pub special: Special,
    /// The maximum number of threads; `None`: as many as there are cores.
    pub threads: Option<usize>,
    /// Cancels the call.
    pub cancel: &'c CancelFlag,
}

impl BatchEncoder<'_> {
    /// Encodes each text.
    ///
    /// # Errors
    /// As [`crate::Tokenizer::encode_batch_until`].
    pub fn texts<T: AsRef<[u8]> + Sync>(self, texts: &[T]) -> Result<Ragged> {
        let bytes = texts.iter().map(|text| text.as_ref().len()).sum();
        let ragged = Ragged::with_capacity(bytes, texts.len())?;
        self.in_groups(texts, ragged, |text, scratch, part| {
            self.encode_document(text, scratch, part)
        })
    }

    /// As [`BatchEncoder::texts`], but only the offsets.
    ///
    /// # Errors
    /// As [`crate::Tokenizer::count_batch`].
    pub fn count<T: AsRef<[u8]> + Sync>(self, texts: &[T]) -> Result<Vec<u64>> {
        let count = |text: &[u8], scratch: &mut Scratch, part: &mut Part| {
            let count = count_ids(self.tables, text, self.special, scratch)?;
            part.counts.push(count as u64);
            Ok(())
        };
        let counted = self.in_groups(texts, Ragged::default(), count)?;
        Ok(counted.offsets)
    }

    /// Encodes files: each file is a document, or each line (with its line end) is one.
    ///
    /// # Errors
    /// As [`crate::Tokenizer::encode_files`].
    pub fn files(self, paths: &[PathBuf], reading: Reading) -> Result<Ragged> {
        let mut ragged = Ragged::default();
        let mut rest = paths;
        while let Some((first, others)) = rest.split_first() {
            let small = rest.iter().position(|path| is_large(path));
            let (files, others) = match small {
                Some(0) => {
                    let text = read_text(first, reading.replace)?;
                    ragged = self.encode_large(&text, reading.lines, ragged)?;
                    (&rest[..0], others)
                }
                Some(count) => rest.split_at(count),
                None => (rest, &rest[..0]),
            };
            ragged = self.in_order(files.len(), ragged, |file, scratch, part| {
                let text = read_text(&files[file], reading.replace)?;
                self.encode_part(&text, reading.lines, scratch, part)
            })?;
            rest = others;
        }
        Ok(ragged)
    }

    /// Appends to `ragged` what `work` adds to the part of each text, or of each chunk of a large text.
    fn in_groups<T: AsRef<[u8]> + Sync>(
        self,
        texts: &[T],
        ragged: Ragged,
        work: impl Fn(&[u8], &mut Scratch, &mut Part) -> Result<()> + Sync,
    ) -> Result<Ragged> {
        let groups = self.groups(texts);
        self.in_order(groups.len(), ragged, |group, scratch, part| {
            part.continues = groups[group].continues();
            groups[group]
                .texts(texts)
                .try_for_each(|text| work(text, scratch, part))
        })
    }

    fn in_order(
        self,
        jobs: usize,
        ragged: Ragged,
        work: impl Fn(usize, &mut Scratch, &mut Part) -> Result<()> + Sync,
    ) -> Result<Ragged> {
        in_order(self.pool, jobs, self.threads, self.cancel, ragged, work)
    }

    fn encode_document(self, text: &[u8], scratch: &mut Scratch, part: &mut Part) -> Result<()> {
        let before = part.ids.len();
        encode_into(self.tables, text, self.special, scratch, &mut part.ids)?;
        part.counts.push((part.ids.len() - before) as u64);
        Ok(())
    }

    /// Encodes one text in several threads.
    fn encode_large(self, text: &[u8], by_line: bool, mut ragged: Ragged) -> Result<Ragged> {
        let chunks = match by_line {
            true => chunks(text, line_end),
            false => self.chunks(text),
        };
        reserve(&mut ragged.ids, text.len() / 3, "ids")?;
        self.in_order(chunks.len(), ragged, |job, scratch, part| {
            let bytes = chunks[job].clone();
            part.continues = !by_line && bytes.start > 0;
            self.encode_part(&text[bytes], by_line, scratch, part)
        })
    }

    fn encode_part(
        self,
        text: &[u8],
        by_line: bool,
        scratch: &mut Scratch,
        part: &mut Part,
    ) -> Result<()> {
        if by_line {
            lines(text).try_for_each(|line| self.encode_document(line, scratch, part))
        } else {
            self.encode_document(text, scratch, part)
        }
    }

    /// Groups texts into jobs of about [`GROUP_BYTES`].
    fn groups<T: AsRef<[u8]>>(self, texts: &[T]) -> Vec<Group> {
        let (mut groups, mut first, mut held) = (Vec::new(), 0, 0);
        for (document, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            let large = text.len() >= LARGE_BYTES;
            held += text.len();
            if large && first < document {
                groups.push(Group::whole(first..document));
            }
            if large {
                groups.extend(self.chunks(text).into_iter().map(|bytes| Group {
                    documents: document..document + 1,
                    bytes: Some(bytes),
                }));
            } else if held >= GROUP_BYTES {
                groups.push(Group::whole(first..document + 1));
            } else {
                continue;
            }
            (first, held) = (document + 1, 0);
        }
        if first < texts.len() {
            groups.push(Group::whole(first..texts.len()));
        }
        groups
    }

    /// The chunks of a document that threads share; one chunk where its parts would be encoded differently from the whole.
    fn chunks(self, text: &[u8]) -> Vec<Range<usize>> {
        // Listed by name so that adding a field (a normalizer, a prefix) fails to compile here.
        let Model {
            pre_tokenizer,
            added: _,
            nfc,
            prefix_space,
            tokens: _,
            merges: _,
            order: _,
            ignore_merges: _,
            unknown: _,
            post_processor: _,
        } = self.tables.model();
        let plain = !self.tables.model().looks_for_added(self.special);
        match has_split_points(pre_tokenizer) && plain && !nfc && !prefix_space {
            true => chunks(text, first_split_point),
            false => chunks(text, |text, _| text.len()),
        }
    }
}

/// Splits `text` at the first position that `cut` finds after each [`GROUP_BYTES`] bytes.
fn chunks(text: &[u8], cut: impl Fn(&[u8], usize) -> usize) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = start + cut(&text[start..], GROUP_BYTES);
        chunks.push(start..end);
        start = end;
    }
    chunks
}

/// The end of the line that contains byte `from`.
fn line_end(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let newline = rest.iter().position(|&byte| byte == b'\n');
    newline.map_or(text.len(), |newline| from + newline + 1)
}

/// Whether several threads should share a file. If its size cannot be read, reading the file reports the reason.
fn is_large(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.len() >= LARGE_BYTES as u64)
}
