//! ScratchPool between calls. A thread gets back the one it had: that one's cache is in its own core's, and to fetch another's
//! costs more than a short text does.

use crate::encode::bounds::Bounds;
use crate::encode::scratch::Scratch;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// ScratchPool kept for the next call; more threads than this at once make their own.
const KEPT: usize = 16;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The place where this thread looks first.
    static SLOT: usize = THREADS.fetch_add(1, Ordering::Relaxed) % KEPT;
}

/// A place for one, on cache lines of its own. Only ever taken by `try_lock`: a lock that another thread held across `fork` costs
/// a fresh scratch, not a hang.
#[derive(Default)]
#[repr(align(128))]
struct Slot(Mutex<Option<Box<Scratch>>>);

impl Slot {
    #[inline]
    fn take(&self) -> Option<Box<Scratch>> {
        self.0.try_lock().ok()?.take()
    }

    /// Keeps a scratch, or gives it back where there is one already.
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

/// The places.
#[derive(Default)]
pub struct ScratchPool([Slot; KEPT]);

impl ScratchPool {
    /// Runs `work` with a scratch, warm from an earlier call if one is free.
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

    /// This thread's scratch, else any that is free, else a new one.
    #[inline]
    fn take(&self) -> Box<Scratch> {
        let own = self.own().take();
        own.or_else(|| self.0.iter().find_map(Slot::take))
            .unwrap_or_default()
    }

    /// Keeps a scratch at this thread's place, else at any that is free.
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
    fn a_thread_gets_its_own_back_and_another_takes_what_is_free() {
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
