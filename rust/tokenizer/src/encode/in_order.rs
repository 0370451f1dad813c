//! Runs jobs on threads that live as long as the call, and concatenates their ids in order.
//!
//! A worker's buffer is copied to its final place while it is still in the cache, and reused; the buffer of a worker that is
//! ahead is copied later, by the others. A single worker writes to the final place itself.

use crate::cancel::CancelFlag;
use crate::encode::bounds::Bounds;
use crate::encode::ragged::Ragged;
use crate::encode::scratch::Scratch;
use crate::encode::scratch_pool::ScratchPool;
use crate::error::{Result, TokenizerError};
use crate::memory::reserve;
use crate::threads::{on_workers, workers};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The result of one job.
#[derive(Default)]
pub struct Part {
    /// Ids of its documents.
    pub ids: Vec<u32>,
    /// How many ids each document has.
    pub counts: Vec<u64>,
    /// Whether its first document continues that of the previous job.
    pub continues: bool,
}

impl Part {
    fn clear(&mut self) {
        self.ids.clear();
        self.counts.clear();
        self.continues = false;
    }
}

/// State shared by the workers.
struct Joined {
    ragged: Ragged,
    /// The job whose part is appended next.
    next: usize,
    /// Parts of later jobs.
    waiting: BTreeMap<usize, Part>,
    /// Buffers for reuse.
    spare: Vec<Part>,
    /// The earliest job that failed.
    failed: Option<(usize, TokenizerError)>,
}

impl Joined {
    /// Takes the part of a job, and returns a buffer for another.
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

/// Appends to `ragged` what `work(0..jobs)` adds to its part, in order of job, on at most `threads` threads (`None`: as many as
/// there are cores).
///
/// # Errors
/// The error of the first job that fails; [`TokenizerError::Interrupted`] if `cancel` was raised.
pub fn in_order(
    pool: &ScratchPool,
    jobs: usize,
    threads: Option<usize>,
    cancel: &CancelFlag,
    ragged: Ragged,
    work: impl Fn(usize, &mut Scratch, &mut Part) -> Result<()> + Sync,
) -> Result<Ragged> {
    match workers(jobs, threads) {
        1 => one_by_one(pool, jobs, cancel, ragged, work),
        threads => side_by_side(pool, jobs, threads, cancel, ragged, work),
    }
}

fn one_by_one(
    pool: &ScratchPool,
    jobs: usize,
    cancel: &CancelFlag,
    mut ragged: Ragged,
    work: impl Fn(usize, &mut Scratch, &mut Part) -> Result<()>,
) -> Result<Ragged> {
    let mut part = Part {
        ids: std::mem::take(&mut ragged.ids),
        ..Part::default()
    };
    pool.with_bounds(Bounds::until(cancel), |scratch| {
        (0..jobs).try_for_each(|job| {
            work(job, scratch, &mut part)?;
            ragged.end_documents(&part.counts, part.continues)?;
            part.counts.clear();
            cancel.check()
        })
    })?;
    ragged.ids = part.ids;
    Ok(ragged)
}

fn side_by_side(
    pool: &ScratchPool,
    jobs: usize,
    threads: usize,
    cancel: &CancelFlag,
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
        pool.with_bounds(Bounds::until(cancel), |scratch| {
            let mut part = Part::default();
            loop {
                let job = next.fetch_add(1, Ordering::Relaxed);
                if job >= jobs || cancel.is_raised() {
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
        None => cancel.check().map(|()| joined.ragged),
    }
}
