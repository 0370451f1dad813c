//! Many documents at once, on threads that live as long as the call: no pool to be lost at `fork`.

use crate::error::{Result, TokenizerError};
use crate::tokenizer::{Special, Tokenizer};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Documents of different lengths, end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ragged {
    /// Ids of all documents.
    pub ids: Vec<u32>,
    /// Where each document begins, followed by the number of ids.
    pub offsets: Vec<u64>,
}

/// Text a worker takes at a time. Smaller batches are not worth a thread.
const GROUP_BYTES: usize = 1 << 18;

/// Ids and token counts of a group of documents.
type Encoded = (Vec<u32>, Vec<u64>);

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
        let groups = groups(texts);
        let encoded = on_threads(groups.len(), threads, |group| {
            let (first, last) = groups[group];
            self.encode_group(&texts[first..last], special)
        });
        let encoded = encoded.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(join(encoded, texts.len()))
    }

    fn encode_group<T: AsRef<[u8]>>(&self, texts: &[T], special: Special) -> Result<Encoded> {
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let mut ids = Vec::with_capacity(bytes / 3 + texts.len());
        let mut counts = Vec::with_capacity(texts.len());
        self.with_scratch(|scratch| {
            for text in texts {
                let before = ids.len();
                self.encode_into(text.as_ref(), special, scratch, &mut ids)?;
                counts.push((ids.len() - before) as u64);
            }
            Ok(())
        })?;
        Ok((ids, counts))
    }

    /// Encodes files, each one document, or each line one (with its line end).
    ///
    /// # Errors
    /// [`TokenizerError::Io`] and [`TokenizerError::NotUtf8`] name the file.
    pub fn encode_files(
        &self,
        paths: &[PathBuf],
        special: Special,
        reading: Reading,
        threads: Option<usize>,
    ) -> Result<Ragged> {
        let encoded = on_threads(paths.len(), threads, |file| {
            let text = read_text(&paths[file], reading.replace)?;
            let documents: Vec<&[u8]> = if reading.lines {
                lines(&text).collect()
            } else {
                vec![&text]
            };
            self.encode_group(&documents, special)
        });
        let encoded = encoded.into_iter().collect::<Result<Vec<_>>>()?;
        let documents = encoded.iter().map(|(_, counts)| counts.len()).sum();
        Ok(join(encoded, documents))
    }
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
    let bytes = std::fs::read(path).map_err(|source| TokenizerError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
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

/// Bounds of groups of whole documents, each about [`GROUP_BYTES`] long.
fn groups<T: AsRef<[u8]>>(texts: &[T]) -> Vec<(usize, usize)> {
    let (mut groups, mut first, mut bytes) = (Vec::new(), 0, 0);
    for (place, text) in texts.iter().enumerate() {
        bytes += text.as_ref().len();
        if bytes >= GROUP_BYTES || place + 1 == texts.len() {
            groups.push((first, place + 1));
            (first, bytes) = (place + 1, 0);
        }
    }
    groups
}

/// Runs `work(0..jobs)` on threads and returns the results in order of job.
pub(crate) fn on_threads<T: Send>(
    jobs: usize,
    threads: Option<usize>,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or_else(available).clamp(1, jobs.max(1));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs));
    let worker = || {
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            if job >= jobs {
                break;
            }
            let result = work(job);
            done.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((job, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // A thread the system does not grant is no loss: the others take its jobs.
            let _ = std::thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_unstable_by_key(|(job, _)| *job);
    done.into_iter().map(|(_, result)| result).collect()
}

fn join(encoded: Vec<Encoded>, documents: usize) -> Ragged {
    let mut offsets = Vec::with_capacity(documents + 1);
    let mut at = 0;
    offsets.push(0);
    for count in encoded.iter().flat_map(|(_, counts)| counts) {
        at += count;
        offsets.push(at);
    }
    let mut encoded = encoded.into_iter().map(|(ids, _)| ids);
    let mut ids = encoded.next().unwrap_or_default();
    ids.reserve_exact((at as usize).saturating_sub(ids.len()));
    encoded.for_each(|more| ids.extend_from_slice(&more));
    Ragged { ids, offsets }
}
