//! Byte-pair encoding of one piece: join the neighbours of smallest rank, leftmost first, until none can be joined.
//! (Sennrich et al., *Neural Machine Translation of Rare Words with Subword Units*, 2016, section 3.2, on bytes.)
//!
//! [`merge_loop`] says it in those words. What encodes is [`PieceMerger`], which arrives at the same tokens without merging:
//!
//! *Merging is local.* As long as nothing was joined across the two ends of a stretch, what happened inside is what happens
//! when the stretch is merged alone. From this it follows, for any ranks, that
//! 1. a token has one derivation, the one from its own bytes; merges that are not part of one never happen ([`derive`]);
//! 2. tokens t1 ... tn are the encoding of their bytes if and only if each of them is the encoding of its own bytes, and each
//!    two neighbours are the encoding of theirs;
//! 3. the first tokens of an encoding are the encoding of their bytes, so each beginning of a piece ends in one token only.
//!
//! So the encoding is found from left to right: the longest token that goes with the one before it ([`trie`], [`check`]),
//! else the next shorter one; where none does, no encoding has a border here, which a bit remembers, and the search goes one
//! token back ([`backtrack`]). Each border is tried once, by (3), so time is linear; memory is a bit a byte.
//! (Theory: Berglund & van der Merwe, *Formalizing BPE Tokenization*, 2023. As an algorithm: H. van Antwerpen & A. Neubeck,
//! *So many tokens, so little time*, GitHub 2024. `docs/decisions/0011-linear-time-bpe.md` has the proofs.)

mod backtrack;
mod check;
mod derive;
mod double_array;
mod early;
mod filtered;
mod long_cache;
mod merge_loop;
mod pairs;
mod settle;
mod short;
mod signs;
#[cfg(test)]
mod tests;
mod trie;
mod trie_build;
mod whole;

use crate::key::ShortKey;
use crate::model::{AddedToken, Model};
use check::{Check, Memo};
use derive::Derivations;
use long_cache::LongCache;
pub use long_cache::Place;
use merge_loop::LoopBuffers;
use short::{BytePairs, SHORT_MOST, Short};
use signs::Signs;
use trie::Trie;
use whole::WholeTable;

/// "No token."
const NONE: u32 = u32::MAX;

/// What the search needs to know of a token.
///
/// Tokens go by numbers of their own here: bytes come first, then tokens in the order of their merges, so that a number says
/// which of two merges comes first, and which of two tokens is older; then those that no merge arrives at.
#[derive(Debug, Clone, Copy)]
struct Token {
    /// Its two parts; of a byte, its own number.
    parts: [u32; 2],
    /// The longest token that it begins with and that merging arrives at; [`NONE`] for a byte.
    prefix: u32,
    /// Its bytes.
    len: u32,
    /// How it is as a neighbour.
    signs: Signs,
}

impl Token {
    /// One of which only its bytes are known.
    fn whole(text: &[u8]) -> Self {
        Self {
            parts: [NONE; 2],
            prefix: NONE,
            len: text.len() as u32,
            signs: Signs::ANY,
        }
    }
}

/// Encodes pieces: the tables of a model.
pub struct PieceMerger {
    tokens: Vec<Token>,
    /// The model's id of each number.
    ids: Vec<u32>,
    /// Tokens from this number on are met only as a whole piece.
    whole_from: u32,
    /// Bytes of the longest of the others.
    longest_bytes: usize,
    trie: Trie,
    check: Check,
    /// For short pieces; `None` where tokens are checked by merging always.
    short: Option<Short>,
    cache: LongCache,
}

/// What a thread keeps between pieces.
#[derive(Default)]
pub struct MergeBuffers {
    /// A bit for each byte of a long piece: no token begins here.
    dead: Vec<u64>,
    memo: Memo,
    merging: LoopBuffers,
    /// Steps in the trie and pairs checked, in tests.
    steps: u64,
}

impl PieceMerger {
    /// The tables of `model`, whose single bytes have the ids `bytes`, without what would make an added token: plain text must
    /// not yield one.
    pub fn of(model: &Model, bytes: &[u32; 256]) -> Self {
        Self::without(&model.added, model, bytes)
    }

    /// The tables of all merges, for text from which added tokens have been cut out.
    pub fn of_all(model: &Model, bytes: &[u32; 256]) -> Self {
        Self::without(&[], model, bytes)
    }

    fn without(added: &[AddedToken], model: &Model, bytes: &[u32; 256]) -> Self {
        let Derivations {
            mut ids,
            mut tokens,
            check,
        } = derive::of(model, added, bytes);
        let whole_from = ids.len() as u32;
        if model.whole_pieces {
            ids.extend(whole_only(model, added, &ids));
        }
        let texts: Vec<&[u8]> = (0..)
            .zip(&ids)
            .map(|(number, &id)| text_of(model, number, id))
            .collect();
        tokens.extend(texts[tokens.len()..].iter().map(|text| Token::whole(text)));
        let (trie, prefixes) = trie_build::build(&texts, whole_from);
        for (token, prefix) in tokens.iter_mut().zip(prefixes) {
            token.prefix = prefix;
        }
        let short = match &check {
            Check::Undo(pairs) => Some(Short {
                whole: WholeTable::of(&texts),
                bytes: BytePairs::of(pairs),
            }),
            Check::Merge(_) => None,
        };
        let arriving = &texts[..whole_from as usize];
        let longest_bytes = arriving.iter().map(|text| text.len()).max().unwrap_or(0);
        tokens.shrink_to_fit();
        ids.shrink_to_fit();
        Self {
            tokens,
            ids,
            whole_from,
            longest_bytes,
            trie,
            short,
            check,
            cache: LongCache::default(),
        }
    }

    /// Where the tokens of a long piece are remembered; asks for the memory that says whether they are.
    #[inline]
    pub fn place(&self, piece: &[u8]) -> Place {
        let place = Place::of(piece);
        self.cache.prefetch(place);
        place
    }

    /// Asks for the memory in which the tokens of a piece of so many bytes are, if they are remembered.
    #[inline]
    pub fn prefetch(&self, place: Place, len: usize) {
        self.cache.prefetch_tokens(place, len);
    }

    /// Appends the ids of `piece`, whose [`PieceMerger::place`] this is, and remembers them.
    #[inline]
    pub fn append_remembered(
        &self,
        place: Place,
        piece: &[u8],
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        if !self.cache.append(place, piece, ids) {
            let before = ids.len();
            self.trie.prefetch(&piece[..piece.len().min(64)]);
            self.append(piece, buffers, ids);
            self.cache.insert(place, piece, &ids[before..]);
        }
    }

    /// Appends the ids of a short piece, whose key this is.
    #[inline]
    pub fn append_short(
        &self,
        key: ShortKey,
        piece: &[u8],
        buffers: &mut MergeBuffers,
        ids: &mut Vec<u32>,
    ) {
        let (Check::Undo(pairs), Some(short)) = (&self.check, &self.short) else {
            return self.append(piece, buffers, ids);
        };
        if let Some(number) = short.whole.get(key) {
            ids.push(self.ids[number as usize]);
        } else if piece.len() <= WholeTable::MOST || self.whole_from as usize == self.ids.len() {
            self.merge_short(pairs, short, piece, ids);
        } else {
            self.append(piece, buffers, ids);
        }
    }

    /// Appends the ids of `piece`.
    pub fn append(&self, piece: &[u8], buffers: &mut MergeBuffers, ids: &mut Vec<u32>) {
        if piece.is_empty() {
            return;
        }
        let (number, steps) = self.trie.longest(piece);
        count(&mut buffers.steps, steps);
        if self.tokens[number as usize].len as usize == piece.len() {
            ids.push(self.ids[number as usize]);
        } else if let (Check::Undo(pairs), Some(short), 1..=SHORT_MOST) =
            (&self.check, &self.short, piece.len())
        {
            self.merge_short(pairs, short, piece, ids);
        } else {
            self.append_parts(piece, number, buffers, ids);
        }
    }
}

impl PieceMerger {
    /// The id of a piece that is a token as a whole, made by merging or not.
    pub fn whole(&self, piece: &[u8]) -> Option<u32> {
        let (number, _) = self.trie.longest(piece);
        let token = self.tokens.get(number as usize)?;
        (token.len as usize == piece.len()).then(|| self.ids[number as usize])
    }

    /// Appends the ids that merging arrives at, whether the piece is a token as a whole or not.
    pub fn append_merged(&self, piece: &[u8], buffers: &mut MergeBuffers, ids: &mut Vec<u32>) {
        let number = self.longest(piece, buffers);
        let Some(token) = self.tokens.get(number as usize) else {
            return;
        };
        if token.len as usize == piece.len() {
            ids.push(self.ids[number as usize]);
        } else {
            self.append_parts(piece, number, buffers, ids);
        }
    }
}

/// Counts work, for the tests that it grows with the text and no faster.
#[inline]
fn count(steps: &mut u64, more: usize) {
    if cfg!(test) {
        *steps += more as u64;
    }
}

/// Each byte.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        bytes[byte] = byte as u8;
        byte += 1;
    }
    bytes
};

/// The bytes of a number's token: the first numbers are the bytes, which need not have a token of the model.
fn text_of(model: &Model, number: u32, id: u32) -> &[u8] {
    match BYTES.get(number as usize) {
        Some(byte) => std::slice::from_ref(byte),
        None => model.tokens.get(id),
    }
}

/// Tokens that are taken for a whole piece although merging does not arrive at them.
fn whole_only(model: &Model, added: &[AddedToken], arrived: &[u32]) -> Vec<u32> {
    let mut known = vec![false; model.tokens.len()];
    let added = added.iter().map(|token| token.id);
    for id in arrived.iter().copied().chain(added) {
        if let Some(known) = known.get_mut(id as usize) {
            *known = true;
        }
    }
    let tokens = model.tokens.iter().filter(|(_, text)| text.len() > 1);
    tokens
        .map(|(id, _)| id)
        .filter(|&id| !known[id as usize])
        .collect()
}
