//! What must hold for any bytes.
//!
//! 1. [`format`]: a tokenizer file is read or refused, never a panic; what is read gives texts back and is saved and read again.
//! 2. [`encode`]: ids give the bytes back and are those of the textbook's merge loop; pieces tile the text, and every tier of
//!    registers cuts it where the scalar scanner does.
//!
//! Both make every call there is: with and without added tokens, offsets, spans, first ids, batches on threads, any ids decoded,
//! and streams.
//!
//! The functions panic where something does not hold: the targets call them under libFuzzer, `tests/` on seeds and mutations.

mod calls;
mod encode;
mod format;
mod mutation;

pub use encode::encode;
pub use format::format;
pub use mutation::Mutations;
