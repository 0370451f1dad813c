//! Lazily built tables; callers never block on a build in progress.

use std::sync::{Mutex, OnceLock};

/// A table that is built on first use.
///
/// A caller that waited could deadlock in a child that was forked while another thread was building: that thread does not exist
/// in the child.
pub(crate) struct TryLazy<T> {
    table: OnceLock<T>,
    /// Held during the build. It is only locked by `try_lock`.
    making: Mutex<()>,
}

impl<T> Default for TryLazy<T> {
    fn default() -> Self {
        Self {
            table: OnceLock::new(),
            making: Mutex::new(()),
        }
    }
}

impl<T> TryLazy<T> {
    /// The table, if it is built.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.table.get()
    }

    /// The table; `None` while another thread is building it: the caller does without.
    #[inline]
    pub(crate) fn get_or_build(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.table.get().or_else(|| self.make(make))
    }

    #[cold]
    fn make(&self, make: impl FnOnce() -> T) -> Option<&T> {
        let _making = self.making.try_lock().ok()?;
        // Only the holder of the lock gets here, so this never waits.
        Some(self.table.get_or_init(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_caller_waits_for_a_table_being_built() {
        let made = TryLazy::default();
        let first = made.get_or_build(|| {
            assert_eq!(made.get_or_build(|| 2), None);
            let other = std::thread::scope(|scope| {
                let other = scope.spawn(|| made.get_or_build(|| 3).copied());
                other.join().unwrap()
            });
            assert_eq!(other, None);
            1
        });
        assert_eq!(first, Some(&1));
        assert_eq!(made.get_or_build(|| 4), Some(&1));
    }
}
