//! Text to MinHash signature.

mod hash;
mod signature;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use hash::{hash_bytes, spread};
#[cfg(test)]
pub(crate) use signature::sketch;
pub use signature::{COMPONENTS, SHINGLE_WORDS, Scratch, Signature, equal_components, signature};
pub use words::{Word, each_word};
