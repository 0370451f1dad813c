//! Attention layouts: which token sees which, built, validated, and cut into the tiles that hold a visible pair.
//!
//! Token t of a flat stream sees the keys `[segment_start, prefix_end)` and `[branch_start, t]`; with a window only
//! those fewer than `window` positions before it. A blank token (`segment_start = prefix_end = t`,
//! `branch_start = t + 1`, position 0) sees nothing and no token sees it.
//!
//! A kernel walks tiles of queries over steps of keys, or tiles of keys over steps of queries. The range of each tile is
//! computed from the runs of the stream, never from its pairs.
//!
//! # Key types
//! * [`SegmentLayout`] and [`BranchLayout`]: the vectors, built one [`Branch`] at a time; packing and ranking both use them.
//! * [`AttentionLayout`]: borrowed vectors from anywhere, not trusted; [`AttentionLayout::validate`] names the first wrong
//!   token.
//! * [`Runs`], [`query_tiles`] and [`key_tiles`]: the work of a kernel; [`TileSide::work_list`] as one vector.
//!
//! # Usage
//! ```
//! # fn main() -> Result<(), stategpt_layout::LayoutError> {
//! use stategpt_layout::{Branch, BranchLayout, Runs, Tiling, query_tiles};
//! // A prompt of 2 tokens, two completions of 2 and 1, and a padding token.
//! let mut layout = BranchLayout::padding(6)?;
//! layout.write(0..2, Branch::without_prefix(0));
//! layout.write(2..4, Branch::behind(0, 2, 2));
//! layout.write(4..5, Branch::behind(0, 2, 4));
//! assert_eq!(layout.segments.position, [0, 1, 2, 3, 2, 0]);
//! let runs = Runs::of(&layout.view(6))?;
//! assert_eq!(query_tiles(&runs, &Tiling::new(2, 2, None)?).len(), 3);
//! # Ok(()) }
//! ```
//!
//! # Not for
//! Computing attention: the kernels under `triton_kernels/attention` do that.

mod error;
mod interval;
mod key_tiles;
mod layout;
mod query_tiles;
mod runs;
mod tiling;
mod vectors;
mod work_list;

pub use error::LayoutError;
pub use key_tiles::{KeyTile, key_tiles};
pub use layout::AttentionLayout;
pub use query_tiles::{QueryTile, query_tiles};
pub use runs::Runs;
pub use tiling::Tiling;
pub use vectors::{Branch, BranchLayout, MAX_TOKENS, SegmentLayout};
pub use work_list::TileSide;
