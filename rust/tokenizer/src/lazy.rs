//! Tables that are made when they are first needed, and nobody waits for whoever makes one.

use std::sync::{Mutex, OnceLock};

/// A table, or the place for it.
///
/// To wait would be to hang in a child that was forked while another thread was making it: that thread is not in the child.
pub(crate) struct TryLazy<T> {
    table: OnceLock<T>,
    /// Held by whoever makes it. Only ever taken by `try_lock`.
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
    /// The table, if it has been made.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.table.get()
    }

    /// The table; `None` while somebody else is making it, and the caller does without.
    #[inline]
    pub(crate) fn get_or_build(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.table.get().or_else(|| self.make(make))
    }

    #[cold]
    fn make(&self, make: impl FnOnce() -> T) -> Option<&T> {
        let _making = self.making.try_lock().ok()?;
        // Whoever holds the lock is the only one here, so this never waits.
        Some(self.table.get_or_init(make))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_a_table_being_made_does_not_wait() {
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
