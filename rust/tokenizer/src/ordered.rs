//! Many documents in one flat array.
//!
//! Jobs whose ids belong end to end: worked on by threads that live as long as the call, joined in order as they come.
//!
//! A worker's buffer is copied to its place while it is still in the cache, and used again; whoever is ahead leaves its
//! buffer for those behind to copy. One worker alone writes to the place itself.

use crate::engine::Scratch;
use crate::error::{Result, TokenizerError};
use crate::memory::reserve;
use crate::stop::Stop;
use crate::stretch::Bounds;
use crate::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Documents of different lengths, end to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ragged {
    /// Ids of all documents.
    pub ids: Vec<u32>,
    /// Where each document begins, followed by the number of ids.
    pub offsets: Vec<u64>,
}

impl Default for Ragged {
    /// No document.
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            offsets: vec![0],
        }
    }
}

/// What one job gives.
#[derive(Default)]
pub(crate) struct Part {
    /// Ids of its documents.
    pub(crate) ids: Vec<u32>,
    /// How many ids each document has.
    pub(crate) counts: Vec<u64>,
    /// Whether its first document goes on from the job before.
    pub(crate) continues: bool,
}

impl Part {
    fn clear(&mut self) {
        self.ids.clear();
        self.counts.clear();
        self.continues = false;
    }
}

impl Ragged {
    /// Room for about `bytes` of text in `documents` documents; untouched room costs nothing.
    ///
    /// # Errors
    /// [`TokenizerError::OutOfMemory`] where there is none.
    pub(crate) fn with_room(bytes: usize, documents: usize) -> Result<Self> {
        let mut ragged = Self::default();
        reserve(&mut ragged.ids, bytes / 3 + documents, "ids")?;
        reserve(&mut ragged.offsets, documents, "offsets")?;
        Ok(ragged)
    }

    /// Ends documents of `counts` ids each; the first goes on with the last document there is, if it `continues`.
    fn end_documents(&mut self, counts: &[u64], continues: bool) -> Result<()> {
        reserve(&mut self.offsets, counts.len(), "offsets")?;
        let mut end = self.offsets.last().copied().unwrap_or_default();
        if continues {
            self.offsets.pop();
        }
        self.offsets.extend(counts.iter().map(|count| {
            end += count;
            end
        }));
        Ok(())
    }
}

/// What the workers share.
struct Joined {
    ragged: Ragged,
    /// The job whose part comes next.
    next: usize,
    /// Parts of later jobs.
    waiting: BTreeMap<usize, Part>,
    /// Buffers to be used again.
    spare: Vec<Part>,
    /// The earliest job that failed.
    failed: Option<(usize, TokenizerError)>,
}

impl Joined {
    /// Takes the part of a job, and gives a buffer for another.
    fn put(&mut self, job: usize, part: Part) -> Result<Part> {
        self.waiting.insert(job, part);
        while let Some(mut part) = self.waiting.remove(&self.next) {
            reserve(&mut self.ragged.ids, part.ids.len(), "ids")?;
            self.ragged.ids.extend_from_slice(&part.ids);
            self.ragged.end_documents(&part.counts, part.continues)?;
            self.next += 1;
            part.clear();
            self.spare.push(part);
        }
        Ok(self.spare.pop().unwrap_or_default())
    }

    fn fail(&mut self, job: usize, error: TokenizerError) {
        if self.failed.as_ref().is_none_or(|(first, _)| job < *first) {
            self.failed = Some((job, error));
        }
    }
}

impl Tokenizer {
    /// Appends to `ragged` what `work(0..jobs)` puts into its part, in order of job, on at most `threads` threads (`None`: as
    /// many as the machine lends).
    ///
    /// # Errors
    /// That of the first job that fails; [`TokenizerError::Interrupted`] where `stop` was raised.
    pub(crate) fn in_order(
        &self,
        jobs: usize,
        threads: Option<usize>,
        stop: &Stop,
        ragged: Ragged,
        work: impl Fn(usize, &mut Scratch, &mut Part) -> Result<()> + Sync,
    ) -> Result<Ragged> {
        match workers(jobs, threads) {
            1 => self.one_by_one(jobs, stop, ragged, work),
            threads => self.side_by_side(jobs, threads, stop, ragged, work),
        }
    }

    fn one_by_one(
        &self,
        jobs: usize,
        stop: &Stop,
        mut ragged: Ragged,
        work: impl Fn(usize, &mut Scratch, &mut Part) -> Result<()>,
    ) -> Result<Ragged> {
        let mut part = Part {
            ids: std::mem::take(&mut ragged.ids),
            ..Part::default()
        };
        self.with_bounds(Bounds::until(stop), |scratch| {
            (0..jobs).try_for_each(|job| {
                work(job, scratch, &mut part)?;
                ragged.end_documents(&part.counts, part.continues)?;
                part.counts.clear();
                stop.check()
            })
        })?;
        ragged.ids = part.ids;
        Ok(ragged)
    }

    fn side_by_side(
        &self,
        jobs: usize,
        threads: usize,
        stop: &Stop,
        ragged: Ragged,
        work: impl Fn(usize, &mut Scratch, &mut Part) -> Result<()> + Sync,
    ) -> Result<Ragged> {
        let next = AtomicUsize::new(0);
        let joined = Mutex::new(Joined {
            ragged,
            next: 0,
            waiting: BTreeMap::new(),
            spare: Vec::new(),
            failed: None,
        });
        on_workers(threads, || {
            self.with_bounds(Bounds::until(stop), |scratch| {
                let mut part = Part::default();
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs || stop.asked() {
                        return;
                    }
                    let result = work(job, scratch, &mut part);
                    let mut joined = joined.lock().unwrap_or_else(PoisonError::into_inner);
                    let done = std::mem::take(&mut part);
                    match result.and_then(|()| joined.put(job, done)) {
                        Ok(spare) => part = spare,
                        Err(error) => {
                            joined.fail(job, error);
                            next.store(jobs, Ordering::Relaxed);
                        }
                    }
                }
            });
        });
        let joined = joined.into_inner().unwrap_or_else(PoisonError::into_inner);
        match joined.failed {
            Some((_, error)) => Err(error),
            None => stop.check().map(|()| joined.ragged),
        }
    }
}

/// How many threads so many jobs deserve.
pub(crate) fn workers(jobs: usize, threads: Option<usize>) -> usize {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    threads.unwrap_or_else(available).clamp(1, jobs.max(1))
}

/// Runs `worker` on `threads` threads, this one among them.
pub(crate) fn on_workers(threads: usize, worker: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // A thread the system does not grant is no loss: the others take its jobs.
            let _ = std::thread::Builder::new().spawn_scoped(scope, &worker);
        }
        worker();
    });
}
