//! Work of tiles of keys: the queries that each iterates over, and where it needs no mask.

use std::cmp::Reverse;
use std::ops::Range;

use crate::interval::Interval;
use crate::runs::{Run, Runs};
use crate::tiling::Tiling;

/// The queries that a tile of keys iterates over, in steps of `block_q` from `q_lo`.
///
/// They start and end with a query that sees a key of the tile; those between need not see one. In the steps
/// `full_lo..full_hi` all `block_q` queries exist and see every key of the tile (those that exist: the stream may end
/// in it). Other full steps may not be marked: where branches of one prefix leave gaps, the first range counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTile {
    /// First key.
    pub k0: i32,
    /// First query.
    pub q_lo: i32,
    /// First full step.
    pub full_lo: i32,
    /// End of the full steps; 0 with `full_lo` when there are none.
    pub full_hi: i32,
    /// Number of steps.
    pub steps: i32,
}

impl KeyTile {
    /// Number of fields.
    pub const FIELDS: usize = 5;

    /// The fields in order.
    pub fn fields(&self) -> [i32; Self::FIELDS] {
        [self.k0, self.q_lo, self.full_lo, self.full_hi, self.steps]
    }
}

/// Every tile of `block_k` keys, those with the most steps first, then by `k0`.
///
/// O(runs + tiles log tiles), and for each tile on a trunk its branches.
pub fn key_tiles(runs: &Runs, tiling: &Tiling) -> Vec<KeyTile> {
    let mut tiles: Vec<KeyTile> = runs
        .tiles(tiling.block_k)
        .map(|(tile, met)| key_tile(tile, met, runs, tiling))
        .collect();
    tiles.sort_by_key(|tile| Reverse(tile.steps));
    tiles
}

fn key_tile(tile: Interval, met: Range<usize>, runs: &Runs, tiling: &Tiling) -> KeyTile {
    let seeing = met
        .clone()
        .map(|run| queries_of_any(tile, run, runs, tiling.window))
        .fold(Interval::EMPTY, Interval::hull);
    let queries = if seeing.is_empty() {
        Interval::new(tile.lo, tile.lo)
    } else {
        seeing
    };
    let of_all = queries_of_all(tile, met.end - 1, runs, tiling.window);
    let full = queries.whole_steps(of_all, tiling.block_q);
    KeyTile {
        k0: tile.lo as i32,
        q_lo: queries.lo as i32,
        full_lo: full.lo as i32,
        full_hi: full.hi as i32,
        steps: queries.steps(tiling.block_q) as i32,
    }
}

/// The smallest interval around the queries that see a key of the tile's part of run `number`.
fn queries_of_any(tile: Interval, number: usize, runs: &Runs, window: i64) -> Interval {
    let run = &runs.as_slice()[number];
    if run.is_blank() {
        return Interval::EMPTY;
    }
    let keys = run.within(tile);
    let own = Interval::new(keys.lo, run.queries_of_own(keys.hi - 1, window).hi);
    if !run.is_trunk() {
        return own;
    }
    let last_in = |branch: &Run| {
        let seen = keys.meet(Interval::new(run.start(), branch.prefix_end()));
        let last = (!seen.is_empty()).then(|| branch.queries_of_prefix(seen.hi - 1, window));
        last.filter(|queries| !queries.is_empty())
    };
    let branches = runs.branches(number).iter().rev();
    let last = branches.into_iter().find_map(last_in);
    own.hull(last.unwrap_or(Interval::EMPTY))
}

/// A range of queries that see every key of the tile, whose last run is `number`.
fn queries_of_all(tile: Interval, number: usize, runs: &Runs, window: i64) -> Interval {
    let run = &runs.as_slice()[number];
    // A branch that starts where its prefix ends sees prefix and branch as one.
    let joined = run.prefix_end() == run.start() && tile.lo >= run.segment_start();
    if run.is_blank() || (tile.lo < run.start() && !joined) {
        return Interval::EMPTY;
    }
    let own = run.queries_of_own(tile.lo, window);
    let mut stretch = Interval::new(tile.hi - 1, own.hi);
    if run.is_trunk() {
        for branch in runs.branches(number) {
            if stretch.hi != branch.start() || branch.prefix_end() < tile.hi {
                break;
            }
            let more = branch.queries_of_prefix(tile.lo, window);
            stretch.hi = stretch.hi.max(more.hi);
        }
    }
    stretch
}
