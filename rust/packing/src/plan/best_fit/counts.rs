//! Best-fit decreasing on a histogram: the plan of ten million pieces in milliseconds.
//!
//! Best-fit decreasing takes pieces from the longest to the shortest and puts each into the row with the least room
//! that still holds it ("Fewer Truncations Improve Language Modeling", 2404.10830; the analysis is Johnson's, 1973: at
//! most 11/9 of the optimum and 6/9 of a row). Pieces of one length are interchangeable and rows with the same content
//! are too, so the algorithm moves them in bulk: if the tightest rows that hold a piece of length l have room r, each of
//! them takes floor(r / l) pieces before the next tightest is considered. The row count is that of the piece-by-piece
//! algorithm, exactly; the work grows with the number of different lengths, not of pieces.
//!
//! The result is a forest. A [`Move`] says "rows of this group got `times` pieces of `length`"; a group of finished rows
//! is a path from a move to its root.

use std::collections::BTreeMap;

/// Pieces of one length within a finished row: their ranks among all pieces of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// Tokens of each piece.
    pub length: u32,
    /// Rank of the first.
    pub first: u64,
    /// How many, with consecutive ranks.
    pub times: u32,
}

/// One bulk placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    /// The move that the same rows got before; `None` if they were empty.
    before: Option<u32>,
    /// Index within `before`'s rows of this move's first row.
    first_row: u64,
    /// Tokens of each piece placed.
    length: u32,
    /// Pieces placed in each row.
    times: u32,
    /// Rank of the first piece placed in the first row.
    first_rank: u64,
}

/// Rows with equal content so far: rows `first_row..first_row + rows` of `last` move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Group {
    last: u32,
    first_row: u64,
    rows: u64,
}

/// Finished rows of equal content, numbered from `start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Finished {
    start: u64,
    room: u32,
    group: Group,
}

/// Which pieces share a row, for every row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestFit {
    moves: Vec<Move>,
    finished: Vec<Finished>,
    rows: u64,
}

impl BestFit {
    /// Plans rows of `row_tokens` for `(length, count)` pieces, each length in `1..=row_tokens` and given once.
    pub fn plan(pieces: &[(u32, u64)], row_tokens: u32) -> Self {
        let mut pieces: Vec<(u32, u64)> = pieces
            .iter()
            .copied()
            .filter(|(_, count)| *count > 0)
            .collect();
        pieces.sort_unstable_by_key(|(length, _)| std::cmp::Reverse(*length));
        let mut planner = Planner {
            moves: Vec::new(),
            open: BTreeMap::new(),
            row_tokens,
        };
        pieces
            .iter()
            .for_each(|(length, count)| planner.place(*length, *count));
        planner.finish()
    }

    /// Number of rows. O(1).
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bulk placements in the plan: its size in memory.
    pub fn moves(&self) -> usize {
        self.moves.len()
    }

    /// Tokens of `row` that no piece fills; `None` past the last row. O(log groups).
    pub fn room(&self, row: u64) -> Option<u32> {
        self.finished_at(row).map(|finished| finished.room)
    }

    /// Calls `visit` for each length in `row`, the shortest first; nothing past the last row. O(log groups + lengths).
    pub fn pieces(&self, row: u64, mut visit: impl FnMut(Ranks)) {
        let Some(finished) = self.finished_at(row) else {
            return;
        };
        let mut index = finished.group.first_row + (row - finished.start);
        let mut at = Some(finished.group.last);
        while let Some(placed) = at.and_then(|at| self.moves.get(at as usize)) {
            let first = placed.first_rank + index * u64::from(placed.times);
            visit(Ranks {
                length: placed.length,
                first,
                times: placed.times,
            });
            index += placed.first_row;
            at = placed.before;
        }
    }

    fn finished_at(&self, row: u64) -> Option<&Finished> {
        if row >= self.rows {
            return None;
        }
        self.finished.get(
            self.finished
                .partition_point(|finished| finished.start <= row)
                .checked_sub(1)?,
        )
    }
}

struct Planner {
    moves: Vec<Move>,
    /// Groups of unfinished rows by the room they have left.
    open: BTreeMap<u32, Vec<Group>>,
    row_tokens: u32,
}

impl Planner {
    fn place(&mut self, length: u32, count: u64) {
        let mut placed = 0;
        while placed < count {
            let Some((room, group)) = self.tightest(length) else {
                break;
            };
            placed += self.fill(room, group, length, placed, count - placed);
        }
        if placed < count {
            self.open_rows(length, placed, count - placed);
        }
    }

    /// Takes out a group of rows with the least room that holds `length`.
    fn tightest(&mut self, length: u32) -> Option<(u32, Group)> {
        let (&room, groups) = self.open.range_mut(length..).next()?;
        let group = groups.pop();
        if groups.is_empty() {
            self.open.remove(&room);
        }
        group.map(|group| (room, group))
    }

    /// Gives each row of `group` as many pieces as fit while they last; returns how many were placed.
    fn fill(&mut self, room: u32, group: Group, length: u32, first_rank: u64, wanted: u64) -> u64 {
        let times = room / length;
        let full_rows = group.rows.min(wanted / u64::from(times));
        let mut placed = self.give(room, group, full_rows, (length, times), first_rank);
        let rest = Group {
            first_row: group.first_row + full_rows,
            rows: group.rows - full_rows,
            ..group
        };
        // Fewer pieces are left than one row holds: one more row takes them all.
        let left = u32::try_from(wanted - placed).unwrap_or(u32::MAX);
        if rest.rows > 0 && left > 0 {
            placed += self.give(room, rest, 1, (length, left), first_rank + placed);
            self.put_back(
                room,
                Group {
                    first_row: rest.first_row + 1,
                    rows: rest.rows - 1,
                    ..rest
                },
            );
        } else {
            self.put_back(room, rest);
        }
        placed
    }

    /// Places `times` pieces in each of the first `rows` rows of `group`.
    fn give(
        &mut self,
        room: u32,
        group: Group,
        rows: u64,
        (length, times): (u32, u32),
        first_rank: u64,
    ) -> u64 {
        if rows > 0 {
            let last = self.record(Some(group.last), group.first_row, length, times, first_rank);
            self.put_back(
                room - length * times,
                Group {
                    last,
                    first_row: 0,
                    rows,
                },
            );
        }
        rows * u64::from(times)
    }

    /// Opens rows for `count` pieces that fit nowhere else.
    fn open_rows(&mut self, length: u32, first_rank: u64, count: u64) {
        let times = self.row_tokens / length;
        let (full_rows, left) = (count / u64::from(times), (count % u64::from(times)) as u32);
        for (rows, times, taken) in [
            (full_rows, times, 0),
            (1, left, full_rows * u64::from(times)),
        ] {
            if rows > 0 && times > 0 {
                let last = self.record(None, 0, length, times, first_rank + taken);
                self.put_back(
                    self.row_tokens - length * times,
                    Group {
                        last,
                        first_row: 0,
                        rows,
                    },
                );
            }
        }
    }

    fn record(
        &mut self,
        before: Option<u32>,
        first_row: u64,
        length: u32,
        times: u32,
        first_rank: u64,
    ) -> u32 {
        self.moves.push(Move {
            before,
            first_row,
            length,
            times,
            first_rank,
        });
        (self.moves.len() - 1) as u32
    }

    fn put_back(&mut self, room: u32, group: Group) {
        if group.rows > 0 {
            self.open.entry(room).or_default().push(group);
        }
    }

    fn finish(self) -> BestFit {
        let mut finished = Vec::new();
        let mut start = 0;
        for (room, groups) in self.open {
            for group in groups {
                finished.push(Finished { start, room, group });
                start += group.rows;
            }
        }
        BestFit {
            moves: self.moves,
            finished,
            rows: start,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Best-fit decreasing as the books have it, piece by piece: the rooms that are left, sorted.
    fn rooms_one_by_one(pieces: &[(u32, u64)], row_tokens: u32) -> Vec<u32> {
        let mut lengths: Vec<u32> = pieces
            .iter()
            .flat_map(|(length, count)| std::iter::repeat_n(*length, *count as usize))
            .collect();
        lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
        let mut rooms: Vec<u32> = Vec::new();
        for length in lengths {
            match rooms.iter_mut().filter(|room| **room >= length).min() {
                Some(room) => *room -= length,
                None => rooms.push(row_tokens - length),
            }
        }
        rooms.sort_unstable();
        rooms
    }

    fn histograms() -> impl Strategy<Value = (Vec<(u32, u64)>, u32)> {
        (1_u32..80).prop_flat_map(|row_tokens| {
            let pieces = proptest::collection::btree_map(1..=row_tokens, 0_u64..40, 0..25);
            (
                pieces.prop_map(|pieces| pieces.into_iter().collect()),
                Just(row_tokens),
            )
        })
    }

    proptest! {
        #[test]
        fn leaves_the_same_rooms_as_placing_piece_by_piece((pieces, row_tokens) in histograms()) {
            let plan = BestFit::plan(&pieces, row_tokens);
            let mut rooms: Vec<u32> = (0..plan.rows()).filter_map(|row| plan.room(row)).collect();
            rooms.sort_unstable();
            prop_assert_eq!(rooms, rooms_one_by_one(&pieces, row_tokens));
        }

        #[test]
        fn every_piece_is_in_one_row_and_no_row_overflows((pieces, row_tokens) in histograms()) {
            let plan = BestFit::plan(&pieces, row_tokens);
            let mut seen = BTreeSet::new();
            for row in 0..plan.rows() {
                let mut used = 0;
                plan.pieces(row, |ranks| {
                    used += ranks.length * ranks.times;
                    for rank in ranks.first..ranks.first + u64::from(ranks.times) {
                        assert!(seen.insert((ranks.length, rank)), "{ranks:?} is placed twice");
                    }
                });
                prop_assert!(used > 0);
                prop_assert_eq!(Some(row_tokens - used), plan.room(row));
            }
            let expected: BTreeSet<(u32, u64)> =
                pieces.iter().flat_map(|(length, count)| (0..*count).map(|rank| (*length, rank))).collect();
            prop_assert_eq!(seen, expected);
        }
    }

    #[test]
    fn the_order_of_the_histogram_does_not_matter() {
        let (one, other) = ([(3, 4), (7, 2), (5, 9)], [(5, 9), (3, 4), (7, 2)]);
        assert_eq!(BestFit::plan(&one, 10), BestFit::plan(&other, 10));
    }

    #[test]
    fn ten_billion_pieces_cost_as_many_moves_as_ten_thousand() {
        let small: Vec<(u32, u64)> = (1..=512).map(|length| (length, 20)).collect();
        let large: Vec<(u32, u64)> = small
            .iter()
            .map(|(length, count)| (*length, count * 1_000_000))
            .collect();
        let (small, large) = (BestFit::plan(&small, 512), BestFit::plan(&large, 512));
        assert!(
            large.moves() <= 2 * small.moves(),
            "{} and {}",
            large.moves(),
            small.moves()
        );
        assert!(large.rows() >= 1_000_000 * (small.rows() - 1));
    }

    #[test]
    fn nothing_to_pack_is_no_rows() {
        let plan = BestFit::plan(&[], 8);
        assert_eq!((plan.rows(), plan.room(0)), (0, None));
        plan.pieces(0, |ranks| unreachable!("{ranks:?}"));
    }
}
