//! Runs: ranges of a stream in which every token sees the same prefix, and its branch from the same start.

use crate::error::LayoutError;
use crate::interval::Interval;
use crate::layout::{AttentionLayout, Entry};

/// Tokens compared at a time while there are many: long enough for vector instructions to pay.
const LONG: usize = 128;
/// Tokens compared at a time towards the end of a run.
const SHORT: usize = 16;

/// Tokens `start..end` of one branch (or trunk) of a segment, or blank ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    start: i32,
    end: i32,
    segment_start: i32,
    prefix_end: i32,
    blank: bool,
}

impl Run {
    /// The tokens `start..end` of a valid layout, `entry` that of the first.
    fn new(start: usize, end: usize, entry: &Entry, blank: bool) -> Self {
        Self {
            start: start as i32,
            end: end as i32,
            segment_start: entry.segment_start as i32,
            prefix_end: entry.prefix_end as i32,
            blank,
        }
    }

    /// First token; the branch starts here.
    pub(crate) fn start(&self) -> i64 {
        i64::from(self.start)
    }

    pub(crate) fn end(&self) -> i64 {
        i64::from(self.end)
    }

    /// First token of the segment; of blank tokens, the first of them.
    pub(crate) fn segment_start(&self) -> i64 {
        i64::from(self.segment_start)
    }

    /// End of the prefix; `segment_start` when there is none.
    pub(crate) fn prefix_end(&self) -> i64 {
        i64::from(self.prefix_end)
    }

    /// Whether its tokens see nothing.
    pub(crate) fn is_blank(&self) -> bool {
        self.blank
    }

    /// Whether the branches of its segment may share it.
    pub(crate) fn is_trunk(&self) -> bool {
        !self.blank && self.segment_start == self.start
    }

    /// Its tokens within `tile`.
    pub(crate) fn within(&self, tile: Interval) -> Interval {
        tile.meet(Interval::new(self.start(), self.end()))
    }

    /// Prefix keys that its token `token` sees.
    pub(crate) fn prefix_keys(&self, token: i64, window: i64) -> Interval {
        // Distances count as if the prefix ended where the branch starts.
        let oldest = self.prefix_end() + (token - self.start()) - window + 1;
        Interval::new(self.segment_start().max(oldest), self.prefix_end())
    }

    /// The first key of the run that its token `token` sees.
    pub(crate) fn oldest_own_key(&self, token: i64, window: i64) -> i64 {
        self.start().max(token - window + 1)
    }

    /// The tokens of the run that see its key `key`.
    pub(crate) fn queries_of_own(&self, key: i64, window: i64) -> Interval {
        Interval::new(key, self.end().min(key + window))
    }

    /// Its tokens that see key `key` of the segment's trunk.
    pub(crate) fn queries_of_prefix(&self, key: i64, window: i64) -> Interval {
        if key >= self.prefix_end() {
            return Interval::EMPTY;
        }
        let end = self.start() + window + key - self.prefix_end();
        Interval::new(self.start(), self.end().min(end))
    }
}

/// A valid layout as its runs, in order; adjacent blank tokens are one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    runs: Vec<Run>,
    tokens: i64,
}

impl Runs {
    /// Checks every token and finds the runs, in one pass. O(N).
    pub fn of(layout: &AttentionLayout<'_>) -> Result<Self, LayoutError> {
        layout.check_shape()?;
        let tokens = layout.segment_start.len();
        let (mut runs, mut token): (Vec<Run>, usize) = (Vec::new(), 0);
        let mut row = Interval::new(0, layout.row_tokens);
        while token < tokens {
            if token as i64 == row.hi {
                row = Interval::new(row.hi, row.hi + layout.row_tokens);
            }
            let entry = layout.entry(token);
            if let Some(problem) = layout.problem(token, &entry, row.lo) {
                return Err(layout.error(token, problem));
            }
            let blank = entry.is_blank(token);
            let end = if blank {
                token + 1
            } else {
                token + tokens_alike(layout, token, &entry, row.hi as usize)
            };
            match runs.last_mut() {
                Some(last) if blank && last.blank => last.end = end as i32,
                _ => runs.push(Run::new(token, end, &entry, blank)),
            }
            token = end;
        }
        Ok(Self {
            runs,
            tokens: tokens as i64,
        })
    }

    /// All runs.
    pub(crate) fn as_slice(&self) -> &[Run] {
        &self.runs
    }

    /// The branches of the segment whose trunk is run `trunk`.
    pub(crate) fn branches(&self, trunk: usize) -> &[Run] {
        let behind = &self.runs[trunk + 1..];
        let segment = self.runs[trunk].segment_start;
        let count = behind.iter().take_while(|run| run.segment_start == segment);
        &behind[..count.count()]
    }

    /// Tiles of `block` tokens, each with the numbers of the runs that it meets.
    pub(crate) fn tiles(
        &self,
        block: i64,
    ) -> impl Iterator<Item = (Interval, std::ops::Range<usize>)> + '_ {
        let mut first = 0;
        (0..self.tokens).step_by(block as usize).map(move |lo| {
            let tile = Interval::new(lo, self.tokens.min(lo + block));
            while self.runs[first].end() <= tile.lo {
                first += 1;
            }
            let met = self.runs[first..].iter();
            let count = met.take_while(|run| run.start() < tile.hi).count();
            (tile, first..first + count)
        })
    }
}

impl AttentionLayout<'_> {
    /// Names the first token whose entries contradict the rules. One pass, O(N).
    pub fn validate(&self) -> Result<(), LayoutError> {
        Runs::of(self).map(drop)
    }
}

/// Number of tokens of `start..limit` that continue the first one: the same branch, positions that count up.
///
/// Within a row they need no other check: what holds for the first of them holds for all.
fn tokens_alike(layout: &AttentionLayout<'_>, start: usize, entry: &Entry, limit: usize) -> usize {
    let vectors = [
        &layout.segment_start[start..limit],
        &layout.prefix_end[start..limit],
        &layout.branch_start[start..limit],
        &layout.position[start..limit],
    ];
    let first = [
        entry.segment_start as i32,
        entry.prefix_end as i32,
        entry.branch_start as i32,
        entry.position as i32,
    ];
    // Padding: nothing to compare at length.
    if limit - start == 1 || !continues::<1>(vectors, first, 1) {
        return 1;
    }
    let alike = walk::<LONG>(vectors, first, 0);
    let alike = walk::<SHORT>(vectors, first, alike);
    walk::<1>(vectors, first, alike)
}

/// Advances from `from` in steps of `STEP` tokens while all tokens of a step continue `first`.
fn walk<const STEP: usize>(vectors: [&[i32]; 4], first: [i32; 4], from: usize) -> usize {
    let mut alike = from;
    while alike + STEP <= vectors[0].len() && continues::<STEP>(vectors, first, alike) {
        alike += STEP;
    }
    alike
}

/// Do the `STEP` tokens from `from` all continue `first`? Without branches, so that the compiler vectorizes it.
fn continues<const STEP: usize>(vectors: [&[i32]; 4], first: [i32; 4], from: usize) -> bool {
    let [segment, prefix, branch, position] = vectors.map(|vector| &vector[from..from + STEP]);
    let mut difference = 0;
    let mut expected = first[3].wrapping_add(from as i32);
    for (((segment, prefix), branch), position) in
        segment.iter().zip(prefix).zip(branch).zip(position)
    {
        difference |= (segment ^ first[0]) | (prefix ^ first[1]) | (branch ^ first[2]);
        difference |= position ^ expected;
        expected = expected.wrapping_add(1);
    }
    difference == 0
}
