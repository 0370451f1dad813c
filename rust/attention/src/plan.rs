//! Which tokens of a step see which pages, and which rows are worked on together. Made once a step, used by every layer.
//!
//! Rows are cut into pieces of a few tokens. Sorted by their tables, pieces that begin with the same pages are neighbors:
//! some of them make a group, whose tree of common pages is walked once for each key-value head.

use std::ops::Range;

use stategpt_simd::LANES;

use crate::error::Error;

/// Keys of a page, aligned to positions 0, 16, 32, ...
pub const PAGE_TOKENS: usize = LANES;

/// Most tokens of a group: enough that loading keys is cheap, few enough that groups occupy several threads.
const GROUP_TOKENS: usize = 32;

/// New tokens of a sequence.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its first token.
    pub token: usize,
    /// Number of its tokens.
    pub tokens: usize,
    /// Position of the first.
    pub seen: usize,
    /// Its pages in [`Plan::pages`].
    pub pages: Range<usize>,
}

/// Some tokens of a row.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// The first.
    pub token: usize,
    /// Number of them.
    pub tokens: usize,
    /// Position of the first.
    pub position: usize,
    /// The pages that they see, in [`Plan::pages`].
    pub pages: Range<usize>,
    /// Tokens of the group before them.
    pub offset: usize,
}

/// Pages that neighboring pieces see.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// The pieces.
    pub pieces: Range<usize>,
    /// The pages' places in the tables of these pieces.
    pub pages: Range<usize>,
}

/// Pieces that are worked on together.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The pieces.
    pub pieces: Range<usize>,
    /// Their pages: those of a piece come in the order of positions.
    pub segments: Range<usize>,
    /// Tokens of the pieces.
    pub tokens: usize,
    /// Pairs of a token and a page.
    pub work: usize,
}

/// The plan of a step.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    tokens: usize,
    /// One more than the largest number of a page.
    pages_needed: usize,
    pub(crate) pages: Vec<u32>,
    pub(crate) rows: Vec<Row>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) groups: Vec<Group>,
}

impl Plan {
    /// Plans R rows: row r has tokens `first[r]..first[r + 1]` at positions `seen[r]`, `seen[r] + 1`, ..., and its keys of
    /// positions 16 i to 16 i + 15 are in page `tables[r][i]`. Entries behind the last needed one are not looked at.
    pub fn new<T: AsRef<[i32]>>(first: &[i32], seen: &[i32], tables: &[T]) -> Result<Self, Error> {
        if first.len() != seen.len() + 1 || seen.len() != tables.len() {
            return Err(Error::Rows {
                first: first.len(),
                seen: seen.len(),
                tables: tables.len(),
            });
        }
        let mut plan = Self::default();
        let mut before = 0;
        for (row, &value) in first.iter().enumerate() {
            if value < before || (row == 0 && value != 0) {
                let (value, before) = (value.into(), before.into());
                return Err(Error::First { row, value, before });
            }
            before = value;
        }
        for (row, table) in tables.iter().enumerate() {
            let tokens = (first[row + 1] - first[row]) as usize;
            plan.add_row(row, tokens, seen[row], table.as_ref())?;
        }
        plan.check_writes()?;
        plan.divide();
        Ok(plan)
    }

    /// New tokens of all rows.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Whether a pool of `pages` pages has those that the tables name.
    pub(crate) fn check_pool(&self, pages: usize) -> Result<(), Error> {
        if self.pages_needed > pages {
            let page = self.pages_needed - 1;
            return Err(Error::Pool { page, pages });
        }
        Ok(())
    }

    fn add_row(
        &mut self,
        row: usize,
        tokens: usize,
        seen: i32,
        table: &[i32],
    ) -> Result<(), Error> {
        let wrong = Error::Seen {
            row,
            value: seen.into(),
            tokens,
        };
        let seen = usize::try_from(seen).map_err(|_| wrong.clone())?;
        if seen + tokens > i32::MAX as usize {
            return Err(wrong);
        }
        let needed = if tokens == 0 {
            0
        } else {
            (seen + tokens).div_ceil(PAGE_TOKENS)
        };
        if table.len() < needed {
            return Err(Error::Table {
                row,
                pages: table.len(),
                seen,
                tokens,
                needed,
            });
        }
        let start = self.pages.len();
        for (column, &page) in table[..needed].iter().enumerate() {
            let value = page.into();
            let page = u32::try_from(page).map_err(|_| Error::Page { row, column, value })?;
            self.pages_needed = self.pages_needed.max(page as usize + 1);
            self.pages.push(page);
        }
        self.rows.push(Row {
            token: self.tokens,
            tokens,
            seen,
            pages: start..start + needed,
        });
        self.tokens += tokens;
        Ok(())
    }

    /// No slot is written twice.
    fn check_writes(&self) -> Result<(), Error> {
        let mut written: Vec<(u32, Range<usize>, usize)> = Vec::with_capacity(self.rows.len());
        for (index, row) in self.rows.iter().enumerate() {
            written.extend(
                row.slots()
                    .map(|(place, slots, _)| (self.pages[row.pages.start + place], slots, index)),
            );
        }
        written.sort_unstable_by_key(|(page, slots, _)| (*page, slots.start));
        for pair in written.windows(2) {
            let [(page, slots, row), (next_page, next_slots, other)] = pair else {
                continue;
            };
            if page == next_page && next_slots.start < slots.end {
                return Err(Error::Written {
                    row: *row.min(other),
                    other: *row.max(other),
                    page: *page as usize,
                    slot: next_slots.start,
                });
            }
        }
        Ok(())
    }

    /// Cuts rows into pieces, sorts them by their tables and makes groups of neighbors.
    fn divide(&mut self) {
        for row in &self.rows {
            let count = row.tokens.div_ceil(GROUP_TOKENS).max(1);
            for number in 0..count {
                let start = row.tokens * number / count;
                let end = row.tokens * (number + 1) / count;
                let pages = (row.seen + end).div_ceil(PAGE_TOKENS).min(row.pages.len());
                self.pieces.push(Piece {
                    token: row.token + start,
                    tokens: end - start,
                    position: row.seen + start,
                    pages: row.pages.start..row.pages.start + pages,
                    offset: 0,
                });
            }
        }
        self.pieces.retain(|piece| piece.tokens > 0);
        let pages = &self.pages;
        self.pieces.sort_by(|a, b| {
            let (a, b) = (&pages[a.pages.clone()], &pages[b.pages.clone()]);
            let common = common_pages(a, b);
            a.get(common).cmp(&b.get(common))
        });
        let mut common: Vec<usize> = Vec::with_capacity(self.pieces.len());
        common.extend(self.pieces.windows(2).map(|pair| {
            common_pages(&pages[pair[0].pages.clone()], &pages[pair[1].pages.clone()])
        }));
        let mut start = 0;
        while start < self.pieces.len() {
            start = self.add_group(start, &common);
        }
        self.groups
            .sort_by_key(|group| std::cmp::Reverse(group.work));
    }

    /// Makes a group of the pieces from `start` on; `common[i]` counts the pages that pieces i and i + 1 begin with.
    fn add_group(&mut self, start: usize, common: &[usize]) -> usize {
        let (mut end, mut tokens, mut work) = (start, 0, 0);
        while let Some(piece) = self.pieces.get_mut(end) {
            if end > start && (common[end - 1] == 0 || tokens + piece.tokens > GROUP_TOKENS) {
                break;
            }
            piece.offset = tokens;
            tokens += piece.tokens;
            work += piece.tokens * piece.pages.len();
            end += 1;
        }
        let first_segment = self.segments.len();
        self.add_segments(start..end, 0, common);
        self.groups.push(Group {
            pieces: start..end,
            segments: first_segment..self.segments.len(),
            tokens,
            work,
        });
        end
    }

    /// The tree of the pages that pieces have in common from place `depth` on. It is no deeper than a group has pieces.
    fn add_segments(&mut self, pieces: Range<usize>, depth: usize, common: &[usize]) {
        let between = &common[pieces.start..pieces.end - 1];
        let alone = self.pieces[pieces.start].pages.len();
        let shared = between.iter().copied().min().unwrap_or(alone);
        if shared > depth {
            self.segments.push(Segment {
                pieces: pieces.clone(),
                pages: depth..shared,
            });
        }
        if pieces.len() == 1 {
            return;
        }
        let mut start = pieces.start;
        for end in pieces.start + 1..=pieces.end {
            if end == pieces.end || common[end - 1] == shared {
                self.add_segments(start..end, shared, common);
                start = end;
            }
        }
    }
}

impl Row {
    /// Where its tokens are written: place of the page in the table, slots, number of the first token.
    pub fn slots(&self) -> impl Iterator<Item = (usize, Range<usize>, usize)> + use<> {
        let (seen, end) = (self.seen, self.seen + self.tokens);
        let places = seen / PAGE_TOKENS..end.div_ceil(PAGE_TOKENS);
        let places = if seen == end { 0..0 } else { places };
        let token = self.token;
        places.map(move |place| {
            let start = (place * PAGE_TOKENS).max(seen);
            let stop = ((place + 1) * PAGE_TOKENS).min(end);
            let slots = start - place * PAGE_TOKENS..stop - place * PAGE_TOKENS;
            (place, slots, token + start - seen)
        })
    }
}

/// Number of pages that both tables begin with.
fn common_pages(a: &[u32], b: &[u32]) -> usize {
    const STRIDE: usize = 8;
    let strides = a.as_chunks::<STRIDE>().0.iter().zip(b.as_chunks().0);
    let start = STRIDE * strides.take_while(|(a, b)| a == b).count();
    let rest = a[start..].iter().zip(&b[start..]);
    start + rest.take_while(|(a, b)| a == b).count()
}
