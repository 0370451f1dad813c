//! Half-open ranges of tokens and of steps.

/// The indices `lo..hi`; none when `hi <= lo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) lo: i64,
    pub(crate) hi: i64,
}

impl Interval {
    pub(crate) const EMPTY: Self = Self { lo: 0, hi: 0 };

    pub(crate) fn new(lo: i64, hi: i64) -> Self {
        Self { lo, hi }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.hi <= self.lo
    }

    /// The intersection.
    pub(crate) fn meet(self, other: Self) -> Self {
        Self::new(self.lo.max(other.lo), self.hi.min(other.hi))
    }

    /// The smallest interval around both; an empty one adds nothing.
    pub(crate) fn hull(self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (_, true) => self,
            (true, false) => other,
            (false, false) => Self::new(self.lo.min(other.lo), self.hi.max(other.hi)),
        }
    }

    /// Steps of `block` indices that cover it.
    pub(crate) fn steps(self, block: i64) -> i64 {
        if self.is_empty() {
            return 0;
        }
        (self.hi - self.lo + block - 1) / block
    }

    /// The steps whose `block` indices are all in `part`; `0..0` if there are none.
    pub(crate) fn whole_steps(self, part: Self, block: i64) -> Self {
        let part = self.meet(part);
        if part.is_empty() {
            return Self::EMPTY;
        }
        let whole = Self::new(
            (part.lo - self.lo + block - 1) / block,
            (part.hi - self.lo) / block,
        );
        if whole.is_empty() { Self::EMPTY } else { whole }
    }
}
