//! From the fields of `tokenizer.json` to a model: refuses by JSON path what would make our ids differ from those of the
//! `tokenizers` library.

use super::fields::{Added, Bpe, File, MergeText};
use super::{pre_tokenizer, unsupported, wrong};
use crate::byte_level;
use crate::error::Result;
use crate::model::{AddedToken, MAX_VOCABULARY, Merge, MergeOrder, Model, TokenTable};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use serde_json::Value;

impl File {
    /// The model this file describes, once everything in it is known to be covered.
    pub fn into_model(self) -> Result<Model> {
        self.check_parts()?;
        self.model.check()?;
        let nfc = read_normalizer(&self.normalizer, "$.normalizer")?;
        let (cutter, prefix_space) = pre_tokenizer::read(&self.pre_tokenizer)?;
        let ids = index(&self.model.vocab.0)?;
        let merges = read_merges(&self.model.merges, &ids)?;
        let added = read_added(self.added_tokens, &self.model.vocab.0, &ids)?;
        drop(ids);
        Ok(Model {
            nfc,
            prefix_space,
            cutter,
            tokens: token_table(self.model.vocab.0, &added),
            merges,
            order: MergeOrder::Listed,
            whole_pieces: self.model.ignore_merges,
            added,
            post_processor: self.post_processor,
        })
    }

    fn check_parts(&self) -> Result<()> {
        if !self.truncation.is_null() {
            return unsupported(
                "$.truncation",
                "truncation is not covered; set it to null and cut the ids yourself",
            );
        }
        if !self.padding.is_null() {
            return unsupported("$.padding", "padding is not covered; set it to null");
        }
        match kind(&self.decoder) {
            "ByteLevel" => Ok(()),
            other => unsupported(
                "$.decoder",
                format!("decoder {other} is not covered, only ByteLevel"),
            ),
        }
    }
}

/// The type of a part of the file.
fn kind(part: &Value) -> &str {
    part.get("type")
        .and_then(Value::as_str)
        .unwrap_or("of no type")
}

/// Whether text is brought into NFC. A sequence of nothing but NFC is NFC.
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
            let steps = steps.iter().enumerate();
            let mut read = steps.map(|(place, step)| match kind(step) {
                // One level is what files hold; deeper ones would be recursion over what a file says.
                "Sequence" => unsupported(
                    format!("{path}.normalizers[{place}]"),
                    "a Sequence in a Sequence is not covered",
                ),
                _ => read_normalizer(step, &format!("{path}.normalizers[{place}]")),
            });
            read.try_fold(false, |any, one| Ok(any | one?))
        }
        (other, _) => unsupported(path, format!("normalizer {other} is not covered, only NFC")),
    }
}

impl Bpe {
    fn check(&self) -> Result<()> {
        let is_given =
            |affix: &Option<String>| affix.as_ref().is_some_and(|affix| !affix.is_empty());
        if let Some(kind) = self.r#type.as_ref().filter(|kind| *kind != "BPE") {
            return unsupported("$.model.type", format!("{kind} is not covered, only BPE"));
        }
        if let Some(dropout) = self.dropout.filter(|dropout| *dropout != 0.0) {
            return unsupported(
                "$.model.dropout",
                format!("dropout {dropout} is not covered"),
            );
        }
        if is_given(&self.continuing_subword_prefix) {
            return unsupported(
                "$.model.continuing_subword_prefix",
                "prefixes are not covered",
            );
        }
        if is_given(&self.end_of_word_suffix) {
            return unsupported("$.model.end_of_word_suffix", "suffixes are not covered");
        }
        Ok(())
    }
}

/// Id of each token of the vocabulary.
fn index(vocabulary: &[(String, u32)]) -> Result<FxHashMap<&str, u32>> {
    let mut ids = FxHashMap::with_capacity_and_hasher(vocabulary.len(), FxBuildHasher);
    let mut taken = FxHashSet::with_capacity_and_hasher(vocabulary.len(), FxBuildHasher);
    for (token, id) in vocabulary {
        let refuse = |problem: String| wrong(format!("$.model.vocab[{token:?}]"), problem);
        if token.is_empty() {
            return refuse("a token is empty".to_owned());
        }
        if *id as usize >= MAX_VOCABULARY {
            return refuse(format!("id {id} is beyond the limit of {MAX_VOCABULARY}"));
        }
        if ids.insert(token.as_str(), *id).is_some() {
            return refuse("the token stands here twice".to_owned());
        }
        if !taken.insert(*id) {
            return refuse(format!("id {id} belongs to another token too"));
        }
    }
    Ok(ids)
}

/// Merges by id. A pair that stands twice counts where it stands last, as in the `tokenizers` library.
fn read_merges(texts: &[MergeText], ids: &FxHashMap<&str, u32>) -> Result<Vec<Merge>> {
    let mut merges = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let refuse = |problem: String| wrong(format!("$.model.merges[{place}]"), problem);
        let parts = [text.left(), text.right(), text.joined()];
        let [Some(&left), Some(&right), Some(&joined)] = parts.map(|part| ids.get(part)) else {
            let missing = parts
                .iter()
                .find(|part| !ids.contains_key(*part))
                .unwrap_or(&"");
            return refuse(format!("{missing:?} is not in the vocabulary"));
        };
        if !text
            .joined()
            .chars()
            .all(|character| byte_level::byte_of(character).is_some())
        {
            let problem = format!(
                "{:?} is not written in the byte-level alphabet",
                text.joined()
            );
            return unsupported(format!("$.model.merges[{place}]"), problem);
        }
        merges.push(Merge {
            left,
            right,
            joined,
        });
    }
    Ok(keep_last(merges))
}

/// The merges without the earlier ones of equal pairs.
pub(crate) fn keep_last(mut merges: Vec<Merge>) -> Vec<Merge> {
    let mut seen = FxHashSet::with_capacity_and_hasher(merges.len(), FxBuildHasher);
    // From the last to the first, and so popped from the first to the last.
    let mut kept: Vec<bool> = merges
        .iter()
        .rev()
        .map(|merge| seen.insert((merge.left, merge.right)))
        .collect();
    merges.retain(|_| kept.pop().unwrap_or(true));
    merges
}

/// The added tokens, in order of id.
fn read_added(
    added: Vec<Added>,
    vocabulary: &[(String, u32)],
    ids: &FxHashMap<&str, u32>,
) -> Result<Vec<AddedToken>> {
    let taken: FxHashMap<u32, &str> = vocabulary
        .iter()
        .map(|(token, id)| (*id, token.as_str()))
        .collect();
    let mut kept = Vec::<AddedToken>::with_capacity(added.len());
    for (place, token) in added.into_iter().enumerate() {
        let token = check_added(place, token)?;
        let (id, content) = (token.id, token.content);
        let path = format!("$.added_tokens[{place}].id");
        if let Some(other) = taken.get(&id).filter(|other| **other != content) {
            return wrong(
                path,
                format!("id {id} belongs to {other:?} in the vocabulary"),
            );
        }
        if let Some(other) = ids.get(content.as_str()).filter(|other| **other != id) {
            return wrong(
                path,
                format!("{content:?} has id {other} in the vocabulary, {id} here"),
            );
        }
        kept.push(AddedToken {
            id,
            content,
            special: token.special,
            normalized: token.normalized,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            single_word: token.single_word,
        });
    }
    kept.sort_by_key(|token| token.id);
    match kept.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(pair) => wrong(
            "$.added_tokens",
            format!("id {} stands here twice", pair[0].id),
        ),
        None => Ok(kept),
    }
}

fn check_added(place: usize, token: Added) -> Result<Added> {
    let path = |field: &str| format!("$.added_tokens[{place}].{field}");
    if token.content.is_empty() {
        return wrong(path("content"), "an added token is empty");
    }
    if token.id as usize >= MAX_VOCABULARY {
        return wrong(
            path("id"),
            format!("id {} is beyond the limit of {MAX_VOCABULARY}", token.id),
        );
    }
    Ok(token)
}

/// Bytes of each token; an added token's are its text.
fn token_table(vocabulary: Vec<(String, u32)>, added: &[AddedToken]) -> TokenTable {
    let ids: FxHashSet<u32> = added.iter().map(|token| token.id).collect();
    // Characters outside the alphabet stand for their UTF-8, as the `tokenizers` library decodes them; no text merges to them.
    let bytes = |token: String| byte_level::read(&token).unwrap_or_else(|| token.into_bytes());
    let plain = vocabulary
        .into_iter()
        .filter(|(_, id)| !ids.contains(id))
        .map(|(token, id)| (id, bytes(token)));
    TokenTable::of(
        plain
            .chain(
                added
                    .iter()
                    .map(|token| (token.id, token.content.clone().into_bytes())),
            )
            .collect(),
    )
}
