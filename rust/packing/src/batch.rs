//! Rows written out: token ids, targets, loss mask and attention layout of a flat stream.

use stategpt_layout::{MAX_TOKENS, SegmentLayout};

use crate::error::{PackingError, filled};
use crate::shards::{Dataset, Span};

/// Document id of a padding token.
pub const NO_DOCUMENT: u64 = u64::MAX;

/// Part of a document's segment `EOS d1 ... dn` (targets `d1 ... dn EOS`) within one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The document.
    pub span: Span,
    /// First token of the piece within the segment.
    pub start: u64,
    /// Tokens of the piece.
    pub length: u32,
}

/// Buffers that rows are read through; one for each thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Raw bytes of a shard file.
    bytes: Vec<u8>,
    /// Ids of one piece.
    ids: Vec<u32>,
    /// Pieces of the row being written.
    pub(crate) pieces: Vec<Piece>,
}

/// Rows end to end, `rows x row_tokens` of each. A new one is all padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// T, tokens of a row.
    pub row_tokens: u32,
    /// Input ids.
    pub tokens: Vec<u32>,
    /// The id that follows each input; padding where there is none.
    pub targets: Vec<u32>,
    /// Is the target trained?
    pub loss_mask: Vec<bool>,
    /// Each token's segment and its position there. A padding token is its own segment.
    pub layout: SegmentLayout,
    /// Document of each token, `NO_DOCUMENT` for padding.
    pub doc_ids: Vec<u64>,
}

impl Batch {
    /// `rows` rows of padding.
    pub fn new(rows: u64, row_tokens: u32, padding: u32) -> Result<Self, PackingError> {
        let tokens = rows
            .checked_mul(u64::from(row_tokens))
            .filter(|tokens| *tokens <= MAX_TOKENS as u64);
        let Some(tokens) = tokens.map(|tokens| tokens as usize) else {
            let rule = format!(
                "rows of {row_tokens} tokens must stay below 2^31 tokens in total; use smaller batches"
            );
            return Err(PackingError::setting("batch_rows", rows, rule));
        };
        let (what, advice) = (
            "a vector of the batch",
            "use smaller batches or shorter rows",
        );
        Ok(Self {
            row_tokens,
            tokens: filled(padding, tokens, what, advice)?,
            targets: filled(padding, tokens, what, advice)?,
            loss_mask: filled(false, tokens, what, advice)?,
            layout: SegmentLayout::padding(tokens)?,
            doc_ids: filled(NO_DOCUMENT, tokens, what, advice)?,
        })
    }

    /// Trained targets in the batch.
    pub fn target_count(&self) -> u64 {
        self.loss_mask.iter().filter(|trained| **trained).count() as u64
    }

    /// Writes the pieces in `scratch` into row `row`, from its start. With `isolate` each
    /// is its own segment; otherwise the whole row is one.
    pub fn write_row(
        &mut self,
        row: usize,
        dataset: &Dataset,
        isolate: bool,
        scratch: &mut Scratch,
    ) -> Result<(), PackingError> {
        let row_start = row * self.row_tokens as usize;
        let mut at = row_start;
        for index in 0..scratch.pieces.len() {
            let piece = scratch.pieces[index];
            let end = at + piece.length as usize;
            let segment = if isolate { at } else { row_start };
            self.write_ids(at, &piece, dataset, scratch)?;
            dataset.read_mask(
                &piece.span,
                piece.start,
                &mut self.loss_mask[at..end],
                &mut scratch.bytes,
            )?;
            self.layout.write(at..end, segment);
            self.doc_ids[at..end].fill(dataset.doc_id(&piece.span)?);
            at = end;
        }
        Ok(())
    }

    /// Token s of a segment has input d_s (end of text at 0) and target d_{s+1} (end of text at n).
    fn write_ids(
        &mut self,
        at: usize,
        piece: &Piece,
        dataset: &Dataset,
        scratch: &mut Scratch,
    ) -> Result<(), PackingError> {
        let end_of_text = dataset.description().end_of_text;
        let (length, documents_tokens) = (piece.length as usize, piece.span.tokens);
        let first = piece.start.saturating_sub(1);
        let last = (piece.start + u64::from(piece.length)).min(documents_tokens);
        scratch.ids.resize((last - first) as usize, 0);
        dataset.read_tokens(&piece.span, first, &mut scratch.ids, &mut scratch.bytes)?;
        let (starts, ends) = (
            piece.start == 0,
            piece.start + u64::from(piece.length) > documents_tokens,
        );
        let inputs = &mut self.tokens[at..at + length];
        if starts {
            inputs[0] = end_of_text;
        }
        let skip = usize::from(starts);
        inputs[skip..].copy_from_slice(&scratch.ids[..length - skip]);
        let targets = &mut self.targets[at..at + length];
        if ends {
            targets[length - 1] = end_of_text;
        }
        let kept = length - usize::from(ends);
        targets[..kept].copy_from_slice(&scratch.ids[1 - skip..][..kept]);
        Ok(())
    }
}
