//! Work of tiles of queries: the keys that each iterates over, and where it needs no mask.

use std::cmp::Reverse;

use crate::interval::Interval;
use crate::runs::{Run, Runs};
use crate::tiling::Tiling;

/// The keys that a tile of queries iterates over, in steps of `block_k`: first the far ones, then the near ones.
///
/// If the tile starts within a branch, the far keys are those of its prefix; the near keys are all others. Step i < `far_steps` covers the
/// keys from `far_lo + i block_k`, cut at `far_hi`; a later step those from `near_lo + (i - far_steps) block_k`. In the
/// full steps, and only there, every query of the tile sees all `block_k` keys. Ranges of none are empty where their
/// part begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryTile {
    /// First query.
    pub q0: i32,
    /// First far key.
    pub far_lo: i32,
    /// End of the far keys; never above `near_lo`.
    pub far_hi: i32,
    /// First near key.
    pub near_lo: i32,
    /// Steps over far keys.
    pub far_steps: i32,
    /// First full step among the far ones.
    pub far_full_lo: i32,
    /// End of the full far steps.
    pub far_full_hi: i32,
    /// First full step among the near ones, far steps counted.
    pub near_full_lo: i32,
    /// End of the full near steps.
    pub near_full_hi: i32,
    /// Number of steps.
    pub steps: i32,
}

impl QueryTile {
    /// Number of fields.
    pub const FIELDS: usize = 10;

    /// The fields in order.
    pub fn fields(&self) -> [i32; Self::FIELDS] {
        [
            self.q0,
            self.far_lo,
            self.far_hi,
            self.near_lo,
            self.far_steps,
            self.far_full_lo,
            self.far_full_hi,
            self.near_full_lo,
            self.near_full_hi,
            self.steps,
        ]
    }
}

/// Every tile of `block_q` queries, those with the most steps first, then by `q0`. O(runs + tiles log tiles).
pub fn query_tiles(runs: &Runs, tiling: &Tiling) -> Vec<QueryTile> {
    let mut tiles: Vec<QueryTile> = runs
        .tiles(tiling.block_q)
        .map(|(tile, met)| query_tile(tile, &runs.as_slice()[met], tiling))
        .collect();
    tiles.sort_by_key(|tile| Reverse(tile.steps));
    tiles
}

fn query_tile(tile: Interval, runs: &[Run], tiling: &Tiling) -> QueryTile {
    // Behind a branch's first token this is the end of its prefix. Otherwise no key of the tile is below it: the
    // segment of the first token starts there, or the blank token is there.
    let seeing = runs.first().filter(|run| !run.is_blank());
    let far_hi = seeing.map_or(tile.lo, Run::prefix_end);
    let keys = Keys::of(tile, far_hi, runs, tiling.window);
    let far = if keys.far.is_empty() {
        Interval::new(far_hi, far_hi)
    } else {
        Interval::new(keys.far.lo, far_hi)
    };
    let near = if keys.near.is_empty() {
        Interval::new(tile.lo, tile.lo)
    } else {
        keys.near
    };
    let block = tiling.block_k;
    let far_full = far.whole_steps(keys.far_shared, block);
    let near_full = near.whole_steps(keys.near_shared, block);
    let far_steps = far.steps(block);
    QueryTile {
        q0: tile.lo as i32,
        far_lo: far.lo as i32,
        far_hi: far.hi as i32,
        near_lo: near.lo as i32,
        far_steps: far_steps as i32,
        far_full_lo: far_full.lo as i32,
        far_full_hi: far_full.hi as i32,
        near_full_lo: (far_steps + near_full.lo) as i32,
        near_full_hi: (far_steps + near_full.hi) as i32,
        steps: (far_steps + near.steps(block)) as i32,
    }
}

/// Keys below `far_hi` and the others: around all that a query of the tile sees, and what all queries see.
struct Keys {
    far: Interval,
    near: Interval,
    far_shared: Interval,
    near_shared: Interval,
}

impl Keys {
    fn of(tile: Interval, far_hi: i64, runs: &[Run], window: i64) -> Self {
        let (below, above) = (Interval::new(0, far_hi), Interval::new(far_hi, tile.hi));
        let mut keys = Self {
            far: Interval::EMPTY,
            near: Interval::EMPTY,
            far_shared: below,
            // The tile's first query sees no later key.
            near_shared: Interval::new(far_hi, tile.lo + 1),
        };
        for (number, run) in runs.iter().enumerate() {
            if run.is_blank() {
                (keys.far_shared, keys.near_shared) = (Interval::EMPTY, Interval::EMPTY);
                continue;
            }
            let queries = run.within(tile);
            let last = queries.hi - 1;
            let own = Interval::new(run.oldest_own_key(queries.lo, window), queries.hi);
            let prefix = run.prefix_keys(queries.lo, window);
            keys.far = keys.far.hull(prefix.meet(below));
            keys.near = keys.near.hull(prefix.meet(above)).hull(own);
            let prefix_of_all = run.prefix_keys(last, window);
            keys.far_shared = keys.far_shared.meet(prefix_of_all);
            // Later runs start behind the first query: what they share with it is their prefix.
            keys.near_shared = keys.near_shared.meet(if number == 0 {
                Interval::new(run.oldest_own_key(last, window), tile.hi)
            } else {
                prefix_of_all
            });
        }
        keys
    }
}
