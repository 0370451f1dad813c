//! Properties that must hold for any bytes.
//!
//! 1. [`format`]: a tokenizer file is read or refused, never a panic; what is read gives texts back and can be saved and read
//!    again.
//! 2. [`encode`]: ids give the bytes back and are those of the merge loop by definition; pre-tokens cover the text without gaps,
//!    and every tier splits it where the scalar scanner does.
//!
//! 3. [`rankings`]: every line is kept, rejected or blank; what is kept is a group.
//! 4. [`layout`]: a valid layout is accepted; the tiles of an accepted one cover every key that a query sees.
//! 5. [`manifest`]: what is read is written as it was; a canonical form is its own canonical form.
//! 6. [`shards`]: descriptions and offsets below the fingerprint are read or refused, and what is read is consistent.
//!
//! The first two make every kind of call: with and without added tokens, offsets, spans, first ids, batches on threads, any ids
//! decoded, and streams.
//!
//! The functions panic if a property does not hold: the targets call them under libFuzzer, `tests/` on seeds and mutations.

mod calls;
mod encode;
mod format;
mod layout;
mod manifest;
mod mutation;
mod rankings;
mod shards;

pub use encode::encode;
pub use format::format;
pub use layout::layout;
pub use manifest::manifest;
pub use mutation::Mutations;
pub use rankings::rankings;
pub use shards::shards;
