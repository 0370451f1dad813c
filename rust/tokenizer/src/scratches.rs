//! Scratches between calls. A thread gets back the one it had: that one's cache is in its own core's, and to fetch another's
//! costs more than a short text does.

use crate::engine::Scratch;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Scratches kept for the next call; more threads than this at once make their own.
const KEPT: usize = 16;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The place where this thread looks first.
    static PLACE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % KEPT;
}

/// A place for one, on cache lines of its own. Only ever taken by `try_lock`: a lock that another thread held across `fork` costs
/// a fresh scratch, not a hang.
#[derive(Default)]
#[repr(align(128))]
struct Place(Mutex<Option<Box<Scratch>>>);

/// The places.
#[derive(Default)]
pub(crate) struct Scratches([Place; KEPT]);

impl Scratches {
    /// This thread's scratch, else any that is free, else a new one.
    pub(crate) fn take(&self) -> Box<Scratch> {
        let free = |place: &Place| place.0.try_lock().ok().and_then(|mut held| held.take());
        self.places().find_map(free).unwrap_or_default()
    }

    /// Keeps a scratch at this thread's place, else at any that is free.
    pub(crate) fn give_back(&self, scratch: Box<Scratch>) {
        for place in self.places() {
            if let Ok(mut held) = place.0.try_lock()
                && held.is_none()
            {
                *held = Some(scratch);
                return;
            }
        }
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        let first = PLACE.with(|place| *place);
        self.0[first..].iter().chain(&self.0[..first])
    }
}
