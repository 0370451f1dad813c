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

/// The signature of each text, in up to `threads` threads.
#[must_use]
pub fn signatures(texts: &[&str], threads: usize) -> Vec<Option<Signature>> {
    crate::parallel::in_parts(texts, threads, |part| {
        let mut scratch = Scratch::default();
        part.iter()
            .map(|text| signature(text, &mut scratch))
            .collect()
    })
}
