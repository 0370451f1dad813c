//! Vocabularies in which some bytes have no token: such a byte is left out of its piece, or becomes the unknown token, before
//! the piece is merged, as in the `tokenizers` library.

use crate::engine::Scratch;
use crate::error::Result;
use crate::memory::reserve;
use crate::model::{Model, NO_TOKEN, Unknown};
use crate::tokenizer::Tokenizer;

/// The bytes that have no token.
pub(crate) struct Holes {
    missing: [bool; 256],
    unknown: Unknown,
}

impl Holes {
    /// Those of a model; `None` if each byte has a token.
    pub(crate) fn of(model: &Model, bytes: &[u32; 256]) -> Option<Self> {
        let missing = bytes.map(|id| id == NO_TOKEN);
        missing.contains(&true).then_some(Self {
            missing,
            unknown: model.unknown,
        })
    }

    /// Whether `text` has one.
    pub(crate) fn any(&self, text: &[u8]) -> bool {
        text.iter().any(|&byte| self.is_missing(byte))
    }

    fn is_missing(&self, byte: u8) -> bool {
        self.missing[usize::from(byte)]
    }
}

impl Tokenizer {
    /// Appends the ids of a text that has bytes without a token.
    pub(crate) fn encode_with_holes(
        &self,
        holes: &Holes,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let stop = scratch.stop();
        let (mut held, mut outcome) = (Vec::new(), Ok(()));
        let append = |start: usize, end: usize| {
            if outcome.is_ok() {
                outcome = self.append_piece(holes, &text[start..end], &mut held, scratch, ids);
            }
        };
        self.model().cutter.for_each_piece(text, &stop, append)?;
        outcome
    }

    fn append_piece(
        &self,
        holes: &Holes,
        piece: &[u8],
        held: &mut Vec<u8>,
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        // At least a byte for each id, and one for the unknown token.
        reserve(ids, piece.len(), "ids")?;
        let merger = self.merger(scratch.is_full());
        let buffers = scratch.buffers();
        if !holes.any(piece) {
            merger.append(piece, buffers, ids);
            return Ok(());
        }
        let whole = merger.whole(piece).filter(|_| self.model().whole_pieces);
        if let Some(id) = whole.filter(|id| *id != NO_TOKEN) {
            ids.push(id);
            return Ok(());
        }
        match holes.unknown {
            Unknown::Refused | Unknown::Dropped => {
                held.clear();
                reserve(held, piece.len(), "a piece")?;
                held.extend(piece.iter().filter(|&&byte| !holes.is_missing(byte)));
                merger.append_merged(held, buffers, ids);
            }
            Unknown::Token { id, fused } => {
                for run in
                    piece.chunk_by(|&one, &next| holes.is_missing(one) == holes.is_missing(next))
                {
                    if !holes.is_missing(run[0]) {
                        merger.append_merged(run, buffers, ids);
                    } else {
                        let count = if fused { 1 } else { run.len() };
                        ids.extend(std::iter::repeat_n(id, count));
                    }
                }
            }
        }
        Ok(())
    }

    /// As [`Tokenizer::encode_with_holes`], with the bytes of `text` that each id comes from: what lies between two bytes of a token
    /// belongs to it, what was left out elsewhere to none.
    pub(crate) fn encode_with_holes_placed(
        &self,
        holes: &Holes,
        text: &[u8],
        scratch: &mut Scratch,
        ids: &mut Vec<u32>,
        bounds: &mut Vec<(usize, usize)>,
    ) -> Result<()> {
        let stop = scratch.stop();
        let (mut held, mut outcome) = (Vec::new(), Ok(()));
        let append = |start: usize, end: usize| {
            if outcome.is_err() {
                return;
            }
            let (piece, first) = (&text[start..end], ids.len());
            outcome = self
                .append_piece(holes, piece, &mut held, scratch, ids)
                .and_then(|()| reserve(bounds, ids.len() - first, "offsets"));
            if outcome.is_ok() {
                self.place(holes, piece, start, &ids[first..], bounds);
            }
        };
        self.model().cutter.for_each_piece(text, &stop, append)?;
        outcome
    }

    /// Appends the bounds of a piece's ids.
    fn place(
        &self,
        holes: &Holes,
        piece: &[u8],
        base: usize,
        ids: &[u32],
        bounds: &mut Vec<(usize, usize)>,
    ) {
        let token = |id: u32| self.model().tokens.get(id);
        if ids.len() == 1 && token(ids[0]) == piece {
            return bounds.push((base, base + piece.len()));
        }
        let mut at = 0;
        for &id in ids {
            let missing = |at: &usize| piece.get(*at).is_some_and(|&byte| holes.is_missing(byte));
            let run = (at..).take_while(missing).count();
            let start = match holes.unknown {
                Unknown::Token { fused, .. } if run > 0 => {
                    let end = at + if fused { run } else { 1 };
                    bounds.push((base + at, base + end));
                    at = end;
                    continue;
                }
                _ => at + run,
            };
            at = start;
            let mut known = token(id).len();
            while known > 0 && at < piece.len() {
                known -= usize::from(!holes.is_missing(piece[at]));
                at += 1;
            }
            bounds.push((base + start, base + at));
        }
    }
}
