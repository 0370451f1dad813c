//! Reads how a vocabulary treats bytes that have no token.

use super::bpe::Bpe;
use crate::byte_level;
use crate::error::{Result, short, unsupported};
use crate::model::{AddedToken, Unknown};

/// What the `tokenizers` library makes of a byte without a token: nothing, or the unknown token.
pub fn read_unknown(model: &Bpe<'_>, added: &[AddedToken]) -> Result<Unknown> {
    let id = |text: &str| model.vocabulary.id(text);
    let name = |byte: u8| byte_level::CHARACTERS[usize::from(byte)].to_string();
    let missing: Vec<u8> = (0..=u8::MAX)
        .filter(|&byte| id(&name(byte)).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(Unknown::Refused);
    }
    let has_fallback = |byte: u8| {
        let name = name(byte);
        name.bytes()
            .all(|part| id(&format!("<0x{part:02X}>")).is_some())
    };
    if model.byte_fallback && missing.iter().any(|&byte| has_fallback(byte)) {
        let problem =
            "true is not supported if bytes have no token and tokens such as <0xC3> exist";
        return unsupported("$.model.byte_fallback", problem);
    }
    let is_missing =
        |token: &&AddedToken| matches!(token.content.as_bytes(), [byte] if missing.contains(byte));
    if let Some(token) = added.iter().find(is_missing) {
        let problem = format!(
            "{:?} is a byte that has no token in the vocabulary",
            token.content
        );
        return unsupported("$.added_tokens", problem);
    }
    let Some(text) = &model.unknown_token else {
        return Ok(Unknown::Dropped);
    };
    let wrong = |problem: &str| {
        let problem = format!("{} {problem}, but bytes have no token", short(text));
        unsupported("$.model.unk_token", problem)
    };
    let Some(id) = id(text) else {
        return wrong("is not in the vocabulary");
    };
    if text.is_empty() {
        return wrong("is empty");
    }
    if added.iter().any(|token| token.id == id) {
        return wrong("is an added token, which plain text must not give");
    }
    if model
        .merges
        .iter()
        .any(|merge| [merge.left, merge.right].contains(&id))
    {
        return wrong("is part of merges");
    }
    Ok(Unknown::Token {
        id,
        fused: model.fuse_unknown,
    })
}
