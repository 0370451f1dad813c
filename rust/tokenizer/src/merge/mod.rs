//! Byte-pair encoding of one pre-token: join the neighbors of smallest rank, leftmost first, until none can be joined. (Sennrich
//! et al., *Neural Machine Translation of Rare Words with Subword Units*, 2016, section 3.2, on bytes.)
//!
//! [`merge_loop`] implements this definition. Encoding uses [`PreTokenEncoder`], which gives the same tokens without merging:
//!
//! *Merging is local.* As long as nothing was joined across the two ends of a range, what happens inside is what happens when the
//! range is merged alone. From this it follows, for any ranks, that
//! 1. a token has one derivation, the one from its own bytes; merges that are not part of one never happen ([`mod@derive`]);
//! 2. tokens t1 ... tn are the encoding of their bytes if and only if each single token is the encoding of its bytes, and so is
//!    each pair of neighbors;
//! 3. the first tokens of an encoding are the encoding of their bytes, so the last token of each prefix's encoding is unique.
//!
//! So the encoding is found from left to right: the longest token that is valid after the previous one ([`trie`], [`check`]),
//! else the next shorter one; if none is valid, no encoding has a boundary here, which a bit remembers, and the search goes back
//! by one token ([`backtrack`]). Each boundary is tried once, by (3), so time is linear; memory is one bit per byte. (Theory:
//! Berglund & van der Merwe, *Formalizing BPE Tokenization*, 2023. As an algorithm: H. van Antwerpen & A. Neubeck, GitHub
//! Blog, 2024. `docs/decisions/0011-linear-time-bpe.md` has the proofs.)

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
