//! From documents to pieces: what is longer than a row is cut, in arithmetic on the length histogram alone.
//!
//! A document of n tokens is a segment of n + 1 (its end of text comes first). A segment longer than a row fills
//! `floor(segment / row)` whole rows from its start; what is left is one shorter piece, packed like any other.

use std::collections::BTreeMap;

use crate::histogram::LengthHistogram;
use crate::plan::strategy::TooLong;

/// A piece of a segment, its document given by rank among those of equal length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RankedPiece {
    /// Tokens of the whole segment: the document's and one.
    pub segment_tokens: u64,
    /// Rank of the document among those of that length.
    pub rank: u64,
    /// First token of the piece within the segment.
    pub start: u64,
    /// Tokens of the piece.
    pub length: u32,
}

/// Documents of one length, numbered among all pieces of one kind from `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    start: u64,
    segment_tokens: u64,
}

/// The pieces of all documents: whole rows, and shorter ones by length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    row_tokens: u32,
    /// Lengths that fill whole rows, by their first such row.
    whole: Vec<Class>,
    whole_rows: u64,
    /// For each length of a shorter piece: how many there are, and the document lengths that leave it.
    shorter: BTreeMap<u32, (u64, Vec<Class>)>,
    rejected: TooLong,
}

impl Split {
    /// Cuts the documents of `lengths` for rows of `row_tokens`, or leaves out those that do not fit in one row.
    pub fn new(lengths: &LengthHistogram, row_tokens: u32, reject_too_long: bool) -> Self {
        let mut split = Self {
            row_tokens,
            whole: Vec::new(),
            whole_rows: 0,
            shorter: BTreeMap::new(),
            rejected: TooLong::default(),
        };
        for (tokens, documents) in lengths.iter() {
            if reject_too_long && tokens >= u64::from(row_tokens) {
                split.rejected.documents += documents;
                split.rejected.tokens += tokens * documents;
            } else {
                split.add(tokens + 1, documents);
            }
        }
        split
    }

    fn add(&mut self, segment_tokens: u64, documents: u64) {
        let rows = segment_tokens / u64::from(self.row_tokens);
        if rows > 0 {
            self.whole.push(Class {
                start: self.whole_rows,
                segment_tokens,
            });
            self.whole_rows += rows * documents;
        }
        let rest = (segment_tokens % u64::from(self.row_tokens)) as u32;
        if rest > 0 {
            let (count, classes) = self.shorter.entry(rest).or_default();
            classes.push(Class {
                start: *count,
                segment_tokens,
            });
            *count += documents;
        }
    }

    /// Rows that one piece fills.
    pub fn whole_rows(&self) -> u64 {
        self.whole_rows
    }

    /// What was left out.
    pub fn rejected(&self) -> TooLong {
        self.rejected
    }

    /// `(length, count)` of the pieces shorter than a row.
    pub fn shorter(&self) -> Vec<(u32, u64)> {
        self.shorter
            .iter()
            .map(|(length, (count, _))| (*length, *count))
            .collect()
    }

    /// How many pieces shorter than a row have `length`.
    pub fn shorter_count(&self, length: u32) -> u64 {
        self.shorter.get(&length).map_or(0, |(count, _)| *count)
    }

    /// The piece that fills whole row `row`. O(log lengths).
    pub fn whole_piece(&self, row: u64) -> Option<RankedPiece> {
        let class = class_at(&self.whole, row)?;
        let rows = class.segment_tokens / u64::from(self.row_tokens);
        let (rank, piece) = ((row - class.start) / rows, (row - class.start) % rows);
        let start = piece * u64::from(self.row_tokens);
        Some(RankedPiece {
            segment_tokens: class.segment_tokens,
            rank,
            start,
            length: self.row_tokens,
        })
    }

    /// The shorter piece of `length` with `rank`. O(log lengths).
    pub fn shorter_piece(&self, length: u32, rank: u64) -> Option<RankedPiece> {
        let class = class_at(&self.shorter.get(&length)?.1, rank)?;
        let start = class.segment_tokens - u64::from(length);
        Some(RankedPiece {
            segment_tokens: class.segment_tokens,
            rank: rank - class.start,
            start,
            length,
        })
    }
}

fn class_at(classes: &[Class], number: u64) -> Option<Class> {
    classes
        .get(
            classes
                .partition_point(|class| class.start <= number)
                .checked_sub(1)?,
        )
        .copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All pieces of the plan, sorted.
    fn pieces(split: &Split) -> Vec<RankedPiece> {
        let whole = (0..split.whole_rows()).map(|row| split.whole_piece(row).unwrap());
        let shorter = split.shorter().into_iter().flat_map(|(length, count)| {
            (0..count)
                .map(move |rank| (length, rank))
                .collect::<Vec<_>>()
        });
        let mut all: Vec<RankedPiece> = whole
            .chain(shorter.map(|(length, rank)| split.shorter_piece(length, rank).unwrap()))
            .collect();
        all.sort_unstable();
        all
    }

    proptest! {
        #[test]
        fn the_pieces_of_each_document_join_to_it(
            lengths in proptest::collection::vec(0_u64..60, 0..40), row_tokens in 2_u32..20,
        ) {
            let histogram: LengthHistogram = lengths.iter().copied().collect();
            let mut expected = Vec::new();
            for (tokens, documents) in histogram.iter() {
                for rank in 0..documents {
                    let mut start = 0;
                    while start <= tokens {
                        let length = (tokens + 1 - start).min(u64::from(row_tokens)) as u32;
                        expected.push(RankedPiece { segment_tokens: tokens + 1, rank, start, length });
                        start += u64::from(length);
                    }
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(pieces(&Split::new(&histogram, row_tokens, false)), expected);
        }

        #[test]
        fn rejecting_counts_what_is_left_out_and_cuts_nothing(
            lengths in proptest::collection::vec(0_u64..60, 0..40), row_tokens in 2_u32..20,
        ) {
            let histogram: LengthHistogram = lengths.iter().copied().collect();
            let split = Split::new(&histogram, row_tokens, true);
            let kept = pieces(&split);
            prop_assert!(kept.iter().all(|piece| piece.start == 0 && u64::from(piece.length) == piece.segment_tokens));
            let kept_tokens: u64 = kept.iter().map(|piece| piece.segment_tokens - 1).sum();
            prop_assert_eq!(kept_tokens + split.rejected().tokens, histogram.tokens());
            prop_assert_eq!(kept.len() as u64 + split.rejected().documents, histogram.documents());
        }
    }
}
