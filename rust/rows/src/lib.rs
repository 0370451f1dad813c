//! What a decoding step computes between its matrix products, row by row, and the draw of a token at its end.
//!
//! Each function is one pass over float32 rows where a tensor library makes five to fifteen: at these sizes a call takes
//! longer than its arithmetic, and rows of logits do not stay in a cache from one call to the next. A row's result has the
//! same bits whichever rows are beside it, on any number of threads and with every instruction set.
//!
//! # Key types
//! * [`rms_norm`]: adds a block's output to the hidden states and normalizes them.
//! * [`split_heads`]: queries, keys and values from their joint projection, normed and rotated.
//! * [`gate`]: the gated activation of an MLP.
//! * [`draw`]: tokens from logits, by uniform numbers.
//!
//! # Usage
//! ```
//! # fn main() -> Result<(), stategpt_rows::Error> {
//! use stategpt_rows::{Draw, draw};
//! let logits = [0.0, 0.0, 5.0, /* second row */ 1.0, 0.0, 0.0];
//! let settings = Draw { vocabulary: 3, rows: &[1], temperatures: &[0.0], uniforms: &[0.5], removed: &[], threads: 1 };
//! let mut drawn = ([0], [0.0]);
//! draw(&logits, &settings, &mut drawn.0, &mut drawn.1)?;
//! assert_eq!(drawn.0, [0]); // the most likely token of row 1
//! # Ok(()) }
//! ```
//!
//! # Not for
//! Training: there is no gradient.

mod chunks;
mod draw;
mod error;
mod gate;
mod heads;
mod norm;
mod spread;

#[cfg(test)]
mod tests;

pub use draw::{Draw, draw};
pub use error::Error;
pub use gate::{Gate, gate};
pub use heads::{Heads, split_heads};
pub use norm::rms_norm;
