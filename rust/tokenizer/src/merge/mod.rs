//! Byte-pair encoding of one pre-token: join the neighbours of smallest rank, leftmost first, until none can be joined.
//! (Sennrich et al., *Neural Machine Translation of Rare Words with Subword Units*, 2016, section 3.2, on bytes.)
//!
//! [`merge_loop`] says it in those words. What encodes is [`PreTokenEncoder`], which arrives at the same tokens without merging:
//!
//! *Merging is local.* As long as nothing was joined across the two ends of a stretch, what happened inside is what happens
//! when the stretch is merged alone. From this it follows, for any ranks, that
//! 1. a token has one derivation, the one from its own bytes; merges that are not part of one never happen ([`derive`]);
//! 2. tokens t1 ... tn are the encoding of their bytes if and only if each of them is the encoding of its own bytes, and each
//!    two neighbours are the encoding of theirs;
//! 3. the first tokens of an encoding are the encoding of their bytes, so each beginning of a pre-token ends in one token only.
//!
//! So the encoding is found from left to right: the longest token that goes with the one before it ([`trie`], [`check`]),
//! else the next shorter one; where none does, no encoding has a border here, which a bit remembers, and the search goes one
//! token back ([`backtrack`]). Each border is tried once, by (3), so time is linear; memory is a bit a byte.
//! (Theory: Berglund & van der Merwe, *Formalizing BPE Tokenization*, 2023. As an algorithm: H. van Antwerpen & A. Neubeck,
//! *So many tokens, so little time*, GitHub 2024. `docs/decisions/0011-linear-time-bpe.md` has the proofs.)

mod backtrack;
mod boundary_filter;
mod buffers;
mod builder;
mod check;
mod derive;
mod double_array;
mod encoder;
mod filtered;
mod long_cache;
mod merge_loop;
mod out_of_order;
mod pairs;
mod prefix;
mod short;
mod short_tokens;
mod tables;
#[cfg(test)]
mod tests;
mod token;
mod trie;
mod trie_build;

pub use buffers::MergeBuffers;
pub use encoder::PreTokenEncoder;
pub use long_cache::CacheKey;
