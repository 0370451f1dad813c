//! Builds a model from the fields of `tokenizer.json`; refuses, by JSON path, whatever would make ids differ from those of the
//! `tokenizers` library.

use super::added::{check_reachable, read_added};
use super::bpe::Bpe;
use super::fields::{File, Part};
use super::unknown::read_unknown;
use super::vocabulary::Vocabulary;
use super::{kind, pre_tokenizer_json};
use crate::byte_level;
use crate::error::{Result, TokenizerError, unsupported};
use crate::keyed::{KeyedSet, Keys};
use crate::model::{AddedToken, MAX_TOKEN_BYTES, Merge, MergeOrder, Model, TokenTable};
use serde_json::Value;

/// The maximum size of a part (normalizer, post_processor, ...). A parsed part takes about ten times the memory of its text.
const MAX_PART_BYTES: usize = 1 << 18;

impl File<'_> {
    /// The model that this file describes, if all of it is supported.
    pub fn into_model(self) -> Result<Model> {
        if let Some(kind) = self.model.kind.as_ref().filter(|kind| *kind != "BPE") {
            return Err(kind::unsupported_kind(kind));
        }
        if let Some(problem) = self.model.vocabulary.unsupported {
            return unsupported("$.model.vocab", problem);
        }
        let part = |part: Part<'_>, name| parse_part(part, name);
        if !part(self.truncation, "truncation")?.is_null() {
            return unsupported(
                "$.truncation",
                "truncation is not supported; set it to null and truncate the ids yourself",
            );
        }
        if !part(self.padding, "padding")?.is_null() {
            return unsupported("$.padding", "padding is not supported; set it to null");
        }
        let nfc = read_normalizer(&part(self.normalizer, "normalizer")?, "$.normalizer")?;
        match kind(&part(self.decoder, "decoder")?) {
            "ByteLevel" => {}
            other => {
                return unsupported(
                    "$.decoder",
                    format!("decoder {other} is not supported, only ByteLevel"),
                );
            }
        }
        let post_processor = part(self.post_processor, "post_processor")?;
        check(&self.model)?;
        let (pre_tokenizer, prefix_space) =
            pre_tokenizer_json::read(&part(self.pre_tokenizer, "pre_tokenizer")?)?;
        let bpe = self.model;
        let added = read_added(self.added_tokens.0, &bpe.vocabulary)?;
        check_reachable(&added, &bpe)?;
        let unknown = read_unknown(&bpe, &added)?;
        let Bpe {
            vocabulary,
            merges,
            ignore_merges,
            ..
        } = bpe;
        let (tokens, strange) = token_table(&vocabulary, &added)?;
        check_merges(&merges, &strange)?;
        Ok(Model {
            nfc,
            prefix_space,
            pre_tokenizer,
            tokens,
            // Of a pair that is listed twice, the last merge counts, as in the `tokenizers` library.
            merges: keep_last(merges),
            order: MergeOrder::Listed,
            ignore_merges,
            unknown,
            added,
            post_processor,
        })
    }
}

fn parse_part(part: Part<'_>, name: &str) -> Result<Value> {
    let text = part.map_or("null", |part| part.get());
    if text.len() > MAX_PART_BYTES {
        let problem = format!(
            "it has {} bytes, more than the limit of {MAX_PART_BYTES}",
            text.len()
        );
        return unsupported(format!("$.{name}"), problem);
    }
    serde_json::from_str(text)
        .map_err(|error| TokenizerError::format(format!("$.{name}"), error.to_string()))
}

/// The field `type` of a part of the file.
fn kind(part: &Value) -> &str {
    part.get("type")
        .and_then(Value::as_str)
        .unwrap_or("without a type")
}

/// Whether text is normalized to NFC. A sequence that only contains NFC is NFC.
fn read_normalizer(normalizer: &Value, path: &str) -> Result<bool> {
    if normalizer.is_null() {
        return Ok(false);
    }
    match (
        kind(normalizer),
        normalizer.get("normalizers").and_then(Value::as_array),
    ) {
        ("NFC", _) => Ok(true),
        ("Sequence", Some(steps)) => {
            let mut any = false;
            for (place, step) in steps.iter().enumerate() {
                let path = format!("{path}.normalizers[{place}]");
                match kind(step) {
                    "NFC" => any = true,
                    other => {
                        return unsupported(
                            path,
                            format!("normalizer {other} is not supported, only NFC"),
                        );
                    }
                }
            }
            Ok(any)
        }
        (other, _) => unsupported(
            path,
            format!("normalizer {other} is not supported, only NFC"),
        ),
    }
}

fn check(model: &Bpe<'_>) -> Result<()> {
    let is_given = |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
    if let Some(dropout) = model.dropout.filter(|dropout| *dropout != 0.0) {
        return unsupported(
            "$.model.dropout",
            format!("dropout {dropout} is not supported"),
        );
    }
    if is_given(&model.prefix) {
        return unsupported(
            "$.model.continuing_subword_prefix",
            "prefixes are not supported",
        );
    }
    if is_given(&model.suffix) {
        return unsupported("$.model.end_of_word_suffix", "suffixes are not supported");
    }
    Ok(())
}

/// The merges without all but the last of equal pairs.
pub(crate) fn keep_last(mut merges: Vec<Merge>) -> Vec<Merge> {
    if are_different(&merges) {
        return merges;
    }
    let mut seen = KeyedSet::with_capacity_and_hasher(merges.len(), Keys::default());
    // Filled from the last merge to the first, popped from the first to the last.
    let mut kept: Vec<bool> = merges
        .iter()
        .rev()
        .map(|merge| seen.insert((merge.left, merge.right)))
        .collect();
    merges.retain(|_| kept.pop().unwrap_or(true));
    merges
}

/// The maximum number of merges into one token that are compared with each other.
const MAX_WAYS: usize = 256;

/// Whether no pair is listed twice, if that is quick to find out: all merges into a token are consecutive, and they are few, as
/// in nearly all files. `false` means unknown. Equal pairs give equal tokens, since their bytes are equal.
fn are_different(merges: &[Merge]) -> bool {
    let max_id = merges.iter().map(|merge| merge.joined).max();
    let mut made = vec![false; max_id.map_or(0, |max_id| max_id as usize + 1)];
    let mut ways_to_each = merges.chunk_by(|one, next| one.joined == next.joined);
    ways_to_each.all(|ways| {
        let parts = |merge: &Merge| (merge.left, merge.right);
        let is_new = |place: usize| {
            let way = parts(&ways[place]);
            ways[..place].iter().all(|other| parts(other) != way)
        };
        let made_before = std::mem::replace(&mut made[ways[0].joined as usize], true);
        !made_before && ways.len() <= MAX_WAYS && (1..ways.len()).all(is_new)
    })
}

/// The bytes of each token (of an added token, its text), and the ids of tokens that are not written in the byte-level alphabet.
/// The bytes of those are their UTF-8, as the `tokenizers` library decodes them.
fn token_table(
    vocabulary: &Vocabulary<'_>,
    added: &[AddedToken],
) -> Result<(TokenTable, KeyedSet<u32>)> {
    let known = vocabulary.tokens.iter().map(|(_, id)| *id);
    let mut order: Vec<(u32, u32)> = known
        .chain(added.iter().map(|token| token.id))
        .zip(0..)
        .collect();
    order.sort_unstable();
    let written = vocabulary.tokens.iter().map(|(text, _)| text.len()).sum();
    let (mut table, mut strange) = (TokenTable::with_capacity(written), KeyedSet::default());
    // Of two tokens with one id, the added token comes last and counts.
    for same in order.chunk_by(|one, next| one.0 == next.0) {
        let (id, place) = same[same.len() - 1];
        let place = place as usize;
        let Some((text, _)) = vocabulary.tokens.get(place) else {
            let content = &added[place - vocabulary.tokens.len()].content;
            table.push(id, |bytes| bytes.extend_from_slice(content.as_bytes()));
            continue;
        };
        if text.is_empty() {
            table.push_empty(id);
            continue;
        }
        table.push(id, |bytes| {
            if !byte_level::append(text, bytes) {
                bytes.extend_from_slice(text.as_bytes());
                strange.insert(id);
            }
        });
        let len = table.get(id).len();
        if len > MAX_TOKEN_BYTES {
            let problem =
                format!("token {id} has {len} bytes, more than the limit of {MAX_TOKEN_BYTES}");
            return unsupported("$.model.vocab", problem);
        }
    }
    table.shrink();
    Ok((table, strange))
}

/// Checks that no merge has a part or result that no bytes can give.
fn check_merges(merges: &[Merge], strange: &KeyedSet<u32>) -> Result<()> {
    let is_strange = |merge: &Merge| {
        [merge.left, merge.right, merge.joined]
            .iter()
            .any(|id| strange.contains(id))
    };
    match merges.iter().position(is_strange) {
        Some(place) if !strange.is_empty() => unsupported(
            format!("$.model.merges[{place}]"),
            "a token is not in the byte-level alphabet",
        ),
        _ => Ok(()),
    }
}
