//! A pool of scratches, kept between calls. A thread gets back the scratch it had: its cache is in the cache of that thread's
//! core, and loading another one takes longer than encoding a short text.

use crate::encode::bounds::Bounds;
use crate::encode::scratch::Scratch;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Scratches that are kept; more concurrent threads create their own.
const KEPT: usize = 16;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The slot in which this thread looks first.
    static SLOT: usize = THREADS.fetch_add(1, Ordering::Relaxed) % KEPT;
}

/// A slot for one scratch, on its own cache lines. It is only locked by `try_lock`: if another thread held the lock across
/// `fork`, that costs a fresh scratch, not a deadlock.
#[derive(Default)]
#[repr(align(128))]
struct Slot(Mutex<Option<Box<Scratch>>>);

impl Slot {
    #[inline]
    fn take(&self) -> Option<Box<Scratch>> {
        self.0.try_lock().ok()?.take()
    }

    /// Keeps a scratch, or returns it if the slot is taken.
    #[inline]
    fn keep(&self, scratch: Box<Scratch>) -> Option<Box<Scratch>> {
        match self.0.try_lock() {
            Ok(mut held) if held.is_none() => {
                *held = Some(scratch);
                None
            }
            _ => Some(scratch),
        }
    }
}

/// The pool.
#[derive(Default)]
pub struct ScratchPool([Slot; KEPT]);

impl ScratchPool {
    /// Runs `work` with a scratch, a used one if any is free.
    pub fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = self.take();
        let result = work(&mut scratch);
        self.put_back(scratch);
        result
    }

    /// As [`ScratchPool::with_scratch`], for a call with these bounds.
    pub fn with_bounds<T>(&self, bounds: Bounds, work: impl FnOnce(&mut Scratch) -> T) -> T {
        self.with_scratch(|scratch| {
            scratch.bounds = bounds;
            let result = work(scratch);
            scratch.bounds = Bounds::default();
            result
        })
    }

    /// This thread's scratch, else any free one, else a new one.
    #[inline]
    fn take(&self) -> Box<Scratch> {
        let own = self.own().take();
        own.or_else(|| self.0.iter().find_map(Slot::take))
            .unwrap_or_default()
    }

    /// Puts a scratch into this thread's slot, else into any free one.
    #[inline]
    fn put_back(&self, scratch: Box<Scratch>) {
        let mut left = self.own().keep(scratch);
        for slot in &self.0 {
            match left {
                Some(scratch) => left = slot.keep(scratch),
                None => return,
            }
        }
    }

    #[inline]
    fn own(&self) -> &Slot {
        &self.0[SLOT.with(|slot| *slot) % KEPT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_gets_its_scratch_back_and_another_takes_a_free_one() {
        let scratches = ScratchPool::default();
        let first = scratches.take();
        let address = std::ptr::from_ref(&*first) as usize;
        scratches.put_back(first);
        let again = scratches.take();
        assert_eq!(std::ptr::from_ref(&*again) as usize, address);
        scratches.put_back(again);
        let taken = std::thread::scope(|scope| {
            let other = || std::ptr::from_ref(&*scratches.take()) as usize;
            scope.spawn(other).join().unwrap()
        });
        assert_eq!(taken, address);
    }
}
