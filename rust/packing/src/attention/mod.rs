//! Attention: is a layout whole, and which tiles of the score matrix hold a visible pair?
//!
//! Token t of a flat stream sees the keys `[segment_start, prefix_end)` and `[branch_start, t]`; with a window only
//! those fewer than `window` positions before it. A blank token (`segment_start = prefix_end = t`,
//! `branch_start = t + 1`, position 0) sees nothing and is seen by nobody.
//!
//! A kernel walks tiles of queries over steps of keys, or tiles of keys over steps of queries. What each tile walks
//! over is worked out here from the runs of the stream, never from its pairs.

mod interval;
mod key_tiles;
mod layout;
mod query_tiles;
mod runs;
mod tiling;

pub use key_tiles::{KeyTile, key_tiles};
pub use layout::AttentionLayout;
pub use query_tiles::{QueryTile, query_tiles};
pub use runs::Runs;
pub use tiling::Tiling;
