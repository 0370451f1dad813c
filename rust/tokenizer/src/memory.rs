//! Memory for tables with random access: in huge pages, where the system has them.
//!
//! With pages of 4 KiB, nearly every lookup in a table of some MiB misses the TLB.

use crate::error::{Result, TokenizerError};
use memmap2::{MmapMut, MmapRaw};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU64;

/// Reserves memory for `more` further items, or fails if there is none.
///
/// The number depends on user input: running out of memory must not end the process.
pub fn reserve<T>(items: &mut Vec<T>, more: usize, what: &'static str) -> Result<()> {
    let bytes = (more as u64).saturating_mul(size_of::<T>() as u64);
    items
        .try_reserve(more)
        .map_err(|_| TokenizerError::OutOfMemory { what, bytes })
}

/// The alignment of a table: the size of a huge page on x86-64 and most 64-bit ARM.
const HUGE_PAGE: usize = 1 << 21;

/// Zeroed bytes, aligned to 64. Their memory is not touched before it is used.
pub struct Zeroed {
    held: Held,
    /// The offset of the first byte in use.
    first: usize,
    len: usize,
}

enum Held {
    Map(MmapMut),
    /// Where the system cannot map memory.
    Vec(Vec<u8>),
}

impl Zeroed {
    /// `len` zeroed bytes.
    pub fn of(len: usize) -> Self {
        let (held, unit) = match map(len + HUGE_PAGE) {
            Some(map) => (Held::Map(map), HUGE_PAGE),
            None => (Held::Vec(vec![0; len + 64]), 64),
        };
        let mut zeroed = Self {
            held,
            first: 0,
            len,
        };
        // Never beyond the reserve, even on a platform that cannot compute the offset.
        zeroed.first = zeroed.all().as_ptr().align_offset(unit) % unit;
        zeroed
    }

    fn all(&self) -> &[u8] {
        match &self.held {
            Held::Map(map) => map,
            Held::Vec(vec) => vec,
        }
    }
}

impl Deref for Zeroed {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.all()[self.first..self.first + self.len]
    }
}

impl DerefMut for Zeroed {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes = match &mut self.held {
            Held::Map(map) => &mut map[..],
            Held::Vec(vec) => &mut vec[..],
        };
        &mut bytes[self.first..self.first + self.len]
    }
}

/// Zeroed memory from the system, in huge pages if available.
fn map(len: usize) -> Option<MmapMut> {
    let map = MmapMut::map_anon(len).ok()?;
    // A hint only: without it everything works, but slower.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

/// Zeroed words that threads share, otherwise as [`Zeroed`].
pub struct SharedWords {
    map: MmapRaw,
    /// The offset of the first byte in use.
    first: usize,
    len: usize,
}

impl SharedWords {
    /// `len` zeroed words; `None` where the system cannot map memory.
    pub fn of(len: usize) -> Option<Self> {
        let map = MmapRaw::from(map(len * size_of::<AtomicU64>() + HUGE_PAGE)?);
        let first = map.as_ptr().align_offset(HUGE_PAGE) % HUGE_PAGE;
        Some(Self { map, first, len })
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    #[inline]
    #[allow(unsafe_code)]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the map has space for `len` words after `first`: it is longer by one huge page, and `first` is less than that
        // and aligns the words to one (or, where the offset cannot be computed, to the map's own page). They are zeroed and stay
        // mapped as long as `self` lives, and nobody else has their address, so all access is atomic.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(self.first).cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn the_bytes_are_zero_aligned_and_kept() {
        let mut bytes = Zeroed::of(100_000);
        assert_eq!(bytes.len(), 100_000);
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert_eq!(bytes.as_ptr().align_offset(64), 0);
        bytes[99_999] = 7;
        assert_eq!(bytes[99_998..], [0, 7]);
    }

    #[test]
    fn shared_words_are_zero_aligned_and_kept() {
        let words = SharedWords::of(100_000).unwrap();
        assert_eq!(words.len(), 100_000);
        assert!(words.iter().all(|word| word.load(Relaxed) == 0));
        assert_eq!(words.as_ptr().align_offset(64), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| words[99_999].store(7, Relaxed));
        });
        assert_eq!(words[99_999].load(Relaxed), 7);
    }
}
