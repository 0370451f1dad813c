//! Ranked completions: people (or a labeler) put K answers to one prompt in order; a reward model learns from every
//! pair of them.
//!
//! ```text
//! rankings.jsonl --Reader--> Group (kept) | Rejection (line, byte offset, code)   input = kept + rejected + blank
//! Group --pairs()--> winner first, C(K,2) minus ties
//! token ids --arrange()--> one batch: rows (each completion with its prompt) or shared prefix (the prompt once)
//! ```
//!
//! Four steps of use: make a [`Reader`] over any `BufRead`; take its [`Outcome`]s; take the [`pairs`](Group::pairs) of
//! each [`Group`]; pass the ids of a few groups to [`arrange`]. This crate knows no text encoding: the caller
//! turns prompts and completions into ids.

mod arrange;
mod error;
mod group;
mod json;
mod parse;
mod problem;
mod reader;
mod table;

pub use arrange::{Arrangement, Batch, TokenGroup, arrange, token_groups};
pub use error::Error;
pub use group::{Completion, Group, MAX_COMPLETIONS, MIN_COMPLETIONS, Pair};
pub use problem::Problem;
pub use reader::{MAX_LINE_BYTES, Outcome, Reader, Rejection, Summary};
pub use table::Table;
