//! Many documents at once, on threads that live as long as the call: no pool to be lost at `fork`.

use crate::border::{first_border, has_borders};
use crate::engine::Scratch;
use crate::error::{Result, TokenizerError};
use crate::memory::reserve;
use crate::model::Model;
use crate::ordered::{Part, Ragged};
use crate::stop::Stop;
use crate::tokenizer::{Special, Tokenizer};
use stategpt_storage::open_regular;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Text a worker takes at a time. Smaller batches are not worth a thread.
const GROUP_BYTES: usize = 1 << 18;
/// Texts from here on are cut into stretches, so that threads can share one.
const LARGE_BYTES: usize = 4 * GROUP_BYTES;

/// A job: some documents, whole but for one that stands alone.
struct Group {
    documents: Range<usize>,
    /// The stretch of the only document.
    bytes: Option<Range<usize>>,
}

impl Group {
    fn whole(documents: Range<usize>) -> Self {
        Self {
            documents,
            bytes: None,
        }
    }

    /// Whether its document began in the job before.
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

impl Tokenizer {
    /// Encodes each text, on at most `threads` threads (`None`: as many as the machine lends). The result does not depend on
    /// their number.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]: the first text's error.
    pub fn encode_batch<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: Special,
        threads: Option<usize>,
    ) -> Result<Ragged> {
        self.encode_batch_until(texts, special, threads, &Stop::default())
    }

    /// As [`Tokenizer::encode_batch`], until `stop` is raised.
    ///
    /// # Errors
    /// [`TokenizerError::Interrupted`] if it was.
    pub fn encode_batch_until<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: Special,
        threads: Option<usize>,
        stop: &Stop,
    ) -> Result<Ragged> {
        let bytes = texts.iter().map(|text| text.as_ref().len()).sum();
        let ragged = Ragged::with_room(bytes, texts.len())?;
        self.in_groups(
            texts,
            special,
            threads,
            stop,
            ragged,
            |text, scratch, part| self.encode_document(text, special, scratch, part),
        )
    }

    /// Where each text's ids would begin, followed by their number: the offsets of [`Tokenizer::encode_batch`] without the ids.
    ///
    /// # Errors
    /// [`TokenizerError::Interrupted`] if `stop` was raised.
    pub fn count_batch<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: Special,
        threads: Option<usize>,
        stop: &Stop,
    ) -> Result<Vec<u64>> {
        let ragged = Ragged::default();
        let count = |text: &[u8], scratch: &mut Scratch, part: &mut Part| {
            let count = self.count_with(text, special, scratch)?;
            part.counts.push(count as u64);
            Ok(())
        };
        let counted = self.in_groups(texts, special, threads, stop, ragged, count)?;
        Ok(counted.offsets)
    }

    /// Appends to `ragged` what `work` puts into the part of each text, or of each stretch of a large one.
    fn in_groups<T: AsRef<[u8]> + Sync>(
        &self,
        texts: &[T],
        special: Special,
        threads: Option<usize>,
        stop: &Stop,
        ragged: Ragged,
        work: impl Fn(&[u8], &mut Scratch, &mut Part) -> Result<()> + Sync,
    ) -> Result<Ragged> {
        let groups = self.groups(texts, special);
        let in_group = |group: usize, scratch: &mut Scratch, part: &mut Part| {
            part.continues = groups[group].continues();
            groups[group]
                .texts(texts)
                .try_for_each(|text| work(text, scratch, part))
        };
        self.in_order(groups.len(), threads, stop, ragged, in_group)
    }

    fn encode_document(
        &self,
        text: &[u8],
        special: Special,
        scratch: &mut Scratch,
        part: &mut Part,
    ) -> Result<()> {
        let before = part.ids.len();
        self.encode_into(text, special, scratch, &mut part.ids)?;
        part.counts.push((part.ids.len() - before) as u64);
        Ok(())
    }

    /// Encodes files, each one document, or each line one (with its line end), until `stop` is raised.
    ///
    /// # Errors
    /// [`TokenizerError::Io`] and [`TokenizerError::NotUtf8`] name the file; [`TokenizerError::Interrupted`].
    pub fn encode_files(
        &self,
        paths: &[PathBuf],
        special: Special,
        reading: Reading,
        threads: Option<usize>,
        stop: &Stop,
    ) -> Result<Ragged> {
        let mut ragged = Ragged::default();
        let mut rest = paths;
        while let Some((first, others)) = rest.split_first() {
            let small = rest.iter().position(|path| is_large(path));
            let (files, others) = match small {
                Some(0) => {
                    let text = read_text(first, reading.replace)?;
                    ragged =
                        self.encode_large(&text, special, reading.lines, threads, stop, ragged)?;
                    (&rest[..0], others)
                }
                Some(count) => rest.split_at(count),
                None => (rest, &rest[..0]),
            };
            ragged = self.in_order(files.len(), threads, stop, ragged, |file, scratch, part| {
                let text = read_text(&files[file], reading.replace)?;
                self.encode_part(&text, special, reading.lines, scratch, part)
            })?;
            rest = others;
        }
        Ok(ragged)
    }

    /// One text that threads share.
    fn encode_large(
        &self,
        text: &[u8],
        special: Special,
        by_line: bool,
        threads: Option<usize>,
        stop: &Stop,
        mut ragged: Ragged,
    ) -> Result<Ragged> {
        let stretches = match by_line {
            true => stretches(text, line_end),
            false => self.stretches(text, special),
        };
        reserve(&mut ragged.ids, text.len() / 3, "ids")?;
        self.in_order(
            stretches.len(),
            threads,
            stop,
            ragged,
            |job, scratch, part| {
                let bytes = stretches[job].clone();
                part.continues = !by_line && bytes.start > 0;
                self.encode_part(&text[bytes], special, by_line, scratch, part)
            },
        )
    }

    fn encode_part(
        &self,
        text: &[u8],
        special: Special,
        by_line: bool,
        scratch: &mut Scratch,
        part: &mut Part,
    ) -> Result<()> {
        if by_line {
            lines(text).try_for_each(|line| self.encode_document(line, special, scratch, part))
        } else {
            self.encode_document(text, special, scratch, part)
        }
    }

    /// Jobs of about [`GROUP_BYTES`].
    fn groups<T: AsRef<[u8]>>(&self, texts: &[T], special: Special) -> Vec<Group> {
        let (mut groups, mut first, mut held) = (Vec::new(), 0, 0);
        for (document, text) in texts.iter().enumerate() {
            let text = text.as_ref();
            let large = text.len() >= LARGE_BYTES;
            held += text.len();
            if large && first < document {
                groups.push(Group::whole(first..document));
            }
            if large {
                groups.extend(
                    self.stretches(text, special)
                        .into_iter()
                        .map(|bytes| Group {
                            documents: document..document + 1,
                            bytes: Some(bytes),
                        }),
                );
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

    /// Where a document is cut for threads to share it; in one piece where its parts would not be encoded as in the whole.
    fn stretches(&self, text: &[u8], special: Special) -> Vec<Range<usize>> {
        // Each field by its name, so that whoever adds one (a normalizer, a prefix) is led here.
        let Model {
            cutter,
            added: _,
            nfc,
            prefix_space,
            tokens: _,
            merges: _,
            order: _,
            whole_pieces: _,
            unknown: _,
            post_processor: _,
        } = self.model();
        let plain = !self.model().looks_for_added(special);
        match has_borders(cutter) && plain && !nfc && !prefix_space {
            true => stretches(text, first_border),
            false => stretches(text, |text, _| text.len()),
        }
    }
}

/// Cuts `text` at the first place that `cut` finds behind each [`GROUP_BYTES`].
fn stretches(text: &[u8], cut: impl Fn(&[u8], usize) -> usize) -> Vec<Range<usize>> {
    let mut stretches = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let end = start + cut(&text[start..], GROUP_BYTES);
        stretches.push(start..end);
        start = end;
    }
    stretches
}

/// The end of the line that holds byte `from`.
fn line_end(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let newline = rest.iter().position(|&byte| byte == b'\n');
    newline.map_or(text.len(), |newline| from + newline + 1)
}

/// Whether threads should share a file. One that cannot be asked for its size says why when it is read.
fn is_large(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.len() >= LARGE_BYTES as u64)
}

/// How files become documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Each line is a document, in place of each file.
    pub lines: bool,
    /// What is not UTF-8 becomes U+FFFD, in place of an error.
    pub replace: bool,
}

/// The bytes of a file that is UTF-8, or made so.
///
/// # Errors
/// [`TokenizerError::Io`] if it cannot be read, [`TokenizerError::NotUtf8`] with the first bad byte unless `replace`.
pub fn read_text(path: &Path, replace: bool) -> Result<Vec<u8>> {
    let io = |source| TokenizerError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    };
    let file = open_regular(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut bytes = Vec::new();
    reserve(
        &mut bytes,
        usize::try_from(size).unwrap_or(usize::MAX),
        "a file",
    )?;
    // No more than it had when it was opened: another process may append to it for ever.
    file.take(size).read_to_end(&mut bytes).map_err(io)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into_bytes()),
        Err(error) if replace => Ok(String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into_bytes()),
        Err(error) => Err(TokenizerError::NotUtf8 {
            path: path.to_owned(),
            offset: error.utf8_error().valid_up_to(),
        }),
    }
}

/// The lines of a text, each with its `\n`.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}
