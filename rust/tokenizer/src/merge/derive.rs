//! Which merges happen, and in which order tokens are made.

use super::boundary_filter::set_filters;
use super::builder::{Builder, Order};
use super::check::{Check, Merging};
use super::merge_loop::{LoopBuffers, Merges, Ranks};
use super::out_of_order::with_out_of_order;
use super::token::Token;
use crate::model::{AddedToken, Model, TokenTable};

/// The tokens that merging their own bytes gives, numbered as [`Token`] says.
pub struct Derivations {
    /// The model's id of each number.
    pub ids: Vec<u32>,
    /// The token of each number; its longest prefix is set later.
    pub tokens: Vec<Token>,
    /// How to check pairs.
    pub check: Check,
}

/// The derivations of all tokens of `model` except those `added`.
pub fn derivations(model: &Model, added: &[AddedToken], bytes: &[u32; 256]) -> Derivations {
    let order = Order::of(model, added);
    let derived = Builder::of(model, bytes).and_then(|builder| builder.derive(&order));
    match derived {
        Some((builder, out_of_order)) if out_of_order.is_empty() => by_numbers(builder),
        Some((builder, out_of_order)) => with_out_of_order(builder, &out_of_order, &order, bytes)
            .map_or_else(|| by_merging(model, bytes, &order), by_numbers),
        None => by_merging(model, bytes, &order),
    }
}

/// The derivations of a model whose merges determine them.
fn by_numbers(builder: Builder<'_>) -> Derivations {
    let (ids, mut tokens, pairs) = builder.finish();
    set_filters(&mut tokens);
    Derivations {
        ids,
        tokens,
        check: Check::Undo(pairs),
    }
}

/// The derivations of a model whose merges do not determine them, found by merging the bytes of each token.
fn by_merging(model: &Model, bytes: &[u32; 256], order: &Order<'_>) -> Derivations {
    let ranks = Ranks::of(order.merges(), bytes);
    let (mut buffers, mut merged, mut ids) = (LoopBuffers::default(), Vec::new(), bytes.to_vec());
    for (id, text) in model.tokens.iter().filter(|(_, text)| text.len() > 1) {
        merged.clear();
        ranks.merge(text, &mut buffers, &mut merged);
        if merged == [id] {
            ids.push(id);
        }
    }
    let (mut texts, mut tokens) = (TokenTable::default(), Vec::with_capacity(ids.len()));
    for (number, &id) in (0..).zip(&ids) {
        let text = text_of(model, number, id);
        texts.push(number, |all| all.extend_from_slice(text));
        tokens.push(Token::of_bytes(text));
    }
    texts.shrink();
    Derivations {
        tokens,
        ids: ids.clone(),
        check: Check::Merge(Box::new(Merging { ranks, texts, ids })),
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
pub fn text_of(model: &Model, number: u32, id: u32) -> &[u8] {
    match BYTES.get(number as usize) {
        Some(byte) => std::slice::from_ref(byte),
        None => model.tokens.get(id),
    }
}
