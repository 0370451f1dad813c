//! Attention over pages of cached keys and values, on CPUs: any mixture of new tokens of any number of sequences.
//!
//! A page holds 16 keys and values of every key-value head, aligned to positions 0, 16, 32, ... of its sequence. Keys are stored
//! as columns, so that 16 scores are computed side by side. Sequences may share pages; what they share is loaded once for
//! a tile of their queries.
//!
//! Of each query the arithmetic is one fixed sequence over the keys that it sees. So its bits depend on nothing else: not on
//! the registers of the machine, on threads, on the other queries of the call, or on how tokens were divided into calls.
//!
//! # Key types
//! * [`Plan`]: which tokens of a step see which pages; made once, used for every layer.
//! * [`write`]: puts new keys and values into their pages.
//! * [`attend`]: attention of the plan's tokens.
//!
//! # Usage
//! ```
//! # fn main() -> Result<(), stategpt_attention::Error> {
//! use stategpt_attention::{Options, Pages, Plan, Shape, attend, write};
//! // One sequence of two tokens in page 0; one head of width 1.
//! let plan = Plan::new(&[0, 2], &[0], &[[0]])?;
//! let shape = Shape { pages: 1, groups: 1, width: 1 };
//! let (mut keys, mut values) = (vec![0.0_f32; 16], vec![0.0_f32; 16]);
//! write(&plan, &[0.0_f32, 0.0], &[1.0, 3.0], &mut keys, &mut values, shape)?;
//! let pages = Pages { keys: &keys, values: &values, shape };
//! let options = Options { scale: 1.0, window: None, softcap: None, threads: 1 };
//! assert_eq!(attend(&plan, &[1.0_f32, 1.0], 1, &pages, &options)?, [1.0, 2.0]);
//! # Ok(()) }
//! ```
//!
//! # Not for
//! Training: there is no gradient.

mod attend;
mod element;
mod error;
mod pages;
mod plan;
mod queries;
mod tile;

#[cfg(test)]
mod tests;

pub use attend::{Options, Pages, attend};
pub use element::{Bf16, Element};
pub use error::Error;
pub use pages::{Shape, write};
pub use plan::{PAGE_TOKENS, Plan};
