//! Sizes of the tiles of the score matrix, and the attention window.

use crate::error::LayoutError;

/// No window: larger than any distance, and far from overflow when positions are added.
const UNLIMITED: i64 = 1 << 40;

/// Sizes of tiles and steps, and the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    pub(crate) block_q: i64,
    pub(crate) block_k: i64,
    pub(crate) window: i64,
}

impl Tiling {
    /// Blocks of `block_q` queries and `block_k` keys, 1 to 2^31 - 1 each; a query sees keys fewer than `window` (at
    /// least 1) positions before it, all of them with `None`.
    pub fn new(block_q: i64, block_k: i64, window: Option<i64>) -> Result<Self, LayoutError> {
        let rule = "a block holds 1 to 2^31 - 1 tokens";
        for (name, block) in [("block_q", block_q), ("block_k", block_k)] {
            if block < 1 || block > i64::from(i32::MAX) {
                return Err(LayoutError::setting(name, block, rule));
            }
        }
        let window = window.unwrap_or(UNLIMITED);
        if window < 1 {
            let rule = "a window holds at least 1 key, the token itself; None is no window";
            return Err(LayoutError::setting("window", window, rule));
        }
        Ok(Self {
            block_q,
            block_k,
            window: window.min(UNLIMITED),
        })
    }
}
