//! Feeds a trainer with texts, files and counts.

use super::Trainer;
use super::count::{Counter, LocalCounts};
use super::files::{BLOCK, Blocks};
use super::progress::{Phase, Watch};
use super::split::{SplitRule, parts};
use crate::error::Result;
use crate::threads::workers;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes of text in a chunk for one thread. Less text is not worth a second thread.
const CHUNK_BYTES: usize = 1 << 18;

impl Trainer {
    /// Counts the pre-tokens of more documents.
    ///
    /// # Errors
    /// [`TokenizerError::MemoryLimit`](crate::TokenizerError::MemoryLimit);
    /// [`TokenizerError::PatternSteps`](crate::TokenizerError::PatternSteps) if a user-defined regular expression reaches its
    /// limit of steps. Some of these documents have been counted then.
    pub fn feed<T: AsRef<[u8]>>(&mut self, documents: &[T]) -> Result<()> {
        self.documents += documents.len() as u64;
        let texts = documents
            .iter()
            .flat_map(|document| parts(self.split_rule(), document.as_ref(), CHUNK_BYTES))
            .collect::<Vec<&[u8]>>();
        self.count(&texts)?;
        self.check_memory(self.pre_tokens.size())
    }

    /// Counts a file, in blocks: memory grows neither with its size nor with the number of threads, unless it has no split point
    /// (white space or punctuation after a letter or a number) for a long time. With [`Documents::Whole`](super::Documents), it
    /// is one document.
    ///
    /// # Errors
    /// [`TokenizerError::Io`](crate::TokenizerError::Io); [`TokenizerError::NotUtf8`](crate::TokenizerError::NotUtf8) with the
    /// first bad byte, unless `replace` makes it U+FFFD; [`TokenizerError::MemoryLimit`](crate::TokenizerError::MemoryLimit);
    /// [`TokenizerError::TrainingInterrupted`](crate::TokenizerError::TrainingInterrupted). The text before the error has been
    /// counted.
    pub fn feed_file(&mut self, path: &Path, replace: bool, watch: &mut Watch<'_>) -> Result<()> {
        let mut blocks = Blocks::open(path, self.split_rule(), replace, BLOCK)?;
        self.documents += 1;
        while let Some(text) = blocks.next()? {
            self.count(&parts(self.split_rule(), text, CHUNK_BYTES).collect::<Vec<_>>())?;
            self.check_memory(self.pre_tokens.size())?;
            watch.report(Phase::Counting, self.counted_bytes, self.expected_bytes)?;
        }
        Ok(())
    }

    /// Adds counts of pre-tokens from elsewhere. The pattern does not split them.
    ///
    /// # Errors
    /// [`TokenizerError::MemoryLimit`](crate::TokenizerError::MemoryLimit).
    pub fn feed_counts<T: AsRef<[u8]>>(&mut self, counts: &[(T, u64)]) -> Result<()> {
        self.documents += counts.len() as u64;
        for (pre_token, count) in counts {
            let pre_token = pre_token.as_ref();
            if *count > 0 && !pre_token.is_empty() {
                self.pre_tokens.add(pre_token, *count);
                self.total_bytes += u128::from(*count) * pre_token.len() as u128;
            }
        }
        self.check_memory(self.pre_tokens.size())
    }

    fn split_rule(&self) -> SplitRule {
        SplitRule::of(&self.pre_tokenizer, self.rule)
    }

    fn count(&mut self, texts: &[&[u8]]) -> Result<()> {
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        self.counted_bytes += bytes as u64;
        self.total_bytes += bytes as u128;
        let threads = workers(bytes / CHUNK_BYTES, self.threads);
        while self.local_counts.len() < threads {
            self.local_counts.push(LocalCounts::default());
        }
        let chunks = chunks(texts);
        let (pre_tokens, pre_tokenizer, rule) = (&self.pre_tokens, &self.pre_tokenizer, self.rule);
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let work = |local: &mut LocalCounts| {
            let mut counter = Counter::new(local, pre_tokens);
            while let Some(&(first, last)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                for text in &texts[first..last] {
                    if let Err(error) = counter.count(pre_tokenizer, rule, text) {
                        next.store(chunks.len(), Ordering::Relaxed);
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                }
            }
            counter.finish();
        };
        let work = &work;
        std::thread::scope(|scope| {
            let mut local_counts = self.local_counts[..threads].iter_mut();
            let own = local_counts.next();
            for local in local_counts {
                // If the system does not grant a thread, the others take its chunks.
                let _ = std::thread::Builder::new().spawn_scoped(scope, move || work(local));
            }
            own.into_iter().for_each(work);
        });
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), Err)
    }
}

/// Bounds of chunks of whole texts, of about [`CHUNK_BYTES`] bytes each.
fn chunks(texts: &[&[u8]]) -> Vec<(usize, usize)> {
    let (mut chunks, mut first, mut bytes) = (Vec::new(), 0, 0);
    for (place, text) in texts.iter().enumerate() {
        bytes += text.len();
        if bytes >= CHUNK_BYTES || place + 1 == texts.len() {
            chunks.push((first, place + 1));
            (first, bytes) = (place + 1, 0);
        }
    }
    chunks
}
