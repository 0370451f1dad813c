//! The fields of `tokenizer.json`, and what each must hold for our ids to be the `tokenizers` library's.

use crate::byte_level;
use crate::error::{Result, TokenizerError};
use crate::model::{AddedToken, MAX_VOCABULARY, Merge, MergeOrder, Model, TokenTable};
use crate::pattern::Pattern;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The whole file.
#[derive(Deserialize)]
pub struct File {
    #[serde(default)]
    truncation: Value,
    #[serde(default)]
    padding: Value,
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: Bpe,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Bpe {
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    dropout: Option<f32>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    ignore_merges: bool,
    vocab: Vocabulary,
    merges: Vec<MergeText>,
}

/// Tokens and ids in the order of the file.
struct Vocabulary(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(VocabularyVisitor)
    }
}

struct VocabularyVisitor;

impl<'de> Visitor<'de> for VocabularyVisitor {
    type Value = Vocabulary;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object of tokens and ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Vocabulary, A::Error> {
        let mut tokens = Vec::new();
        while let Some(entry) = map.next_entry()? {
            tokens.push(entry);
        }
        Ok(Vocabulary(tokens))
    }
}

/// A merge as `"a b"` (files of every age) or `["a", "b"]` (since tokenizers 0.20).
#[derive(Deserialize)]
#[serde(untagged)]
enum MergeText {
    Joined(String),
    Pair(String, String),
}

impl MergeText {
    fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Pair(left, right) => Some((left, right)),
            Self::Joined(both) => both
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' ')),
        }
    }
}

impl File {
    /// The model this file describes, once everything in it is known to be covered.
    pub fn into_model(self) -> Result<Model> {
        self.refuse_what_is_not_covered()?;
        let pattern = pattern_of(&self.pre_tokenizer)?;
        let ids = index(&self.model.vocab.0)?;
        let merges = merges_of(&self.model.merges, &ids)?;
        drop(ids);
        let (tokens, added) = tokens_of(self.model.vocab.0, self.added_tokens)?;
        Ok(Model {
            pattern,
            tokens,
            merges,
            order: MergeOrder::Listed,
            whole_pieces: self.model.ignore_merges,
            added,
            post_processor: self.post_processor,
        })
    }

    fn refuse_what_is_not_covered(&self) -> Result<()> {
        let bpe = &self.model;
        let kind = |value: &Value| {
            value
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or("of no type")
                .to_owned()
        };
        let is_empty = |affix: &Option<String>| affix.as_deref().unwrap_or_default().is_empty();
        refuse(
            bpe.r#type.as_deref().is_some_and(|name| name != "BPE"),
            "$.model.type",
            "only BPE is covered",
        )?;
        refuse(
            bpe.dropout.is_some_and(|dropout| dropout != 0.0),
            "$.model.dropout",
            "dropout is not covered",
        )?;
        refuse(
            !is_empty(&bpe.continuing_subword_prefix),
            "$.model.continuing_subword_prefix",
            "prefixes are not covered",
        )?;
        refuse(
            !is_empty(&bpe.end_of_word_suffix),
            "$.model.end_of_word_suffix",
            "suffixes are not covered",
        )?;
        refuse(
            !self.truncation.is_null(),
            "$.truncation",
            "truncation is not covered; set it to null and cut the ids yourself",
        )?;
        refuse(
            !self.padding.is_null(),
            "$.padding",
            "padding is not covered; set it to null",
        )?;
        let normalizer = format!("normalizer {} is not covered", kind(&self.normalizer));
        refuse(!self.normalizer.is_null(), "$.normalizer", &normalizer)?;
        let decoder = format!(
            "decoder {} is not covered, only ByteLevel",
            kind(&self.decoder)
        );
        refuse(kind(&self.decoder) != "ByteLevel", "$.decoder", &decoder)
    }
}

fn refuse(refused: bool, path: &str, problem: &str) -> Result<()> {
    if refused {
        Err(TokenizerError::format(path, problem))
    } else {
        Ok(())
    }
}

/// The pattern of `ByteLevel` with its own regex, or of a `Split` followed by `ByteLevel` without.
fn pattern_of(pre_tokenizer: &Value) -> Result<Pattern> {
    let path = "$.pre_tokenizer";
    let kind = pre_tokenizer.get("type").and_then(Value::as_str);
    let steps = pre_tokenizer
        .get("pretokenizers")
        .and_then(Value::as_array)
        .map(Vec::as_slice);
    match (kind, steps) {
        (Some("ByteLevel"), _) => {
            byte_level(pre_tokenizer, path, true)?;
            Ok(Pattern::Gpt2)
        }
        (Some("Sequence"), Some([split, level])) => {
            byte_level(level, "$.pre_tokenizer.pretokenizers[1]", false)?;
            split_of(split)
        }
        _ => Err(TokenizerError::format(
            path,
            "only ByteLevel, and a Sequence of Split and ByteLevel, are covered",
        )),
    }
}

/// Checks that a step is `ByteLevel` without a prefix space, with or without its regex.
fn byte_level(step: &Value, path: &str, regex: bool) -> Result<()> {
    let flag = |name: &str| step.get(name).and_then(Value::as_bool);
    refuse(
        step.get("type").and_then(Value::as_str) != Some("ByteLevel"),
        path,
        "only ByteLevel is covered here",
    )?;
    refuse(
        flag("add_prefix_space") != Some(false),
        &format!("{path}.add_prefix_space"),
        "only false is covered",
    )?;
    // The field is younger than the format: absent means true.
    refuse(
        flag("use_regex").unwrap_or(true) != regex,
        &format!("{path}.use_regex"),
        &format!("only {regex} is covered here"),
    )
}

fn split_of(split: &Value) -> Result<Pattern> {
    let path = "$.pre_tokenizer.pretokenizers[0]";
    let text = |name: &str| split.get(name).and_then(Value::as_str);
    let invert = split.get("invert").and_then(Value::as_bool);
    refuse(
        text("type") != Some("Split"),
        path,
        "only Split is covered before ByteLevel",
    )?;
    // Our patterns match every character, so keeping the matches and keeping what lies between them come to the same.
    let whole = matches!(
        (text("behavior"), invert),
        (Some("Isolated"), Some(false)) | (Some("Removed"), Some(true))
    );
    refuse(
        !whole,
        path,
        "only behavior Isolated (invert false) and Removed (invert true) are covered",
    )?;
    let regex = split
        .get("pattern")
        .and_then(|pattern| pattern.get("Regex"))
        .and_then(Value::as_str);
    let path = format!("{path}.pattern");
    let Some(regex) = regex else {
        return Err(TokenizerError::format(path, "only a Regex is covered"));
    };
    Pattern::of_regex(regex).ok_or_else(|| {
        TokenizerError::format(
            path,
            format!(
                "the regex {regex:?} is none of {}",
                Pattern::NAMES.join(", ")
            ),
        )
    })
}

/// Id of each token of the vocabulary.
fn index(vocabulary: &[(String, u32)]) -> Result<FxHashMap<&str, u32>> {
    let mut ids = FxHashMap::with_capacity_and_hasher(vocabulary.len(), rustc_hash::FxBuildHasher);
    let mut taken =
        FxHashSet::with_capacity_and_hasher(vocabulary.len(), rustc_hash::FxBuildHasher);
    for (token, id) in vocabulary {
        let path = || format!("$.model.vocab[{token:?}]");
        refuse(token.is_empty(), "$.model.vocab", "a token is empty")?;
        refuse(
            *id as usize >= MAX_VOCABULARY,
            &path(),
            &format!("id {id} is beyond the limit of {MAX_VOCABULARY}"),
        )?;
        refuse(
            ids.insert(token.as_str(), *id).is_some(),
            &path(),
            "the token stands here twice",
        )?;
        refuse(
            !taken.insert(*id),
            &path(),
            &format!("id {id} belongs to another token too"),
        )?;
    }
    Ok(ids)
}

/// Merges by id. A pair that stands twice counts where it stands last, as in the `tokenizers` library.
fn merges_of(texts: &[MergeText], ids: &FxHashMap<&str, u32>) -> Result<Vec<Merge>> {
    let mut joined_text = String::new();
    let mut merges = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let wrong =
            |problem: String| TokenizerError::format(format!("$.model.merges[{place}]"), problem);
        let (left, right) = text
            .parts()
            .ok_or_else(|| wrong("a merge is two tokens with one space between".to_owned()))?;
        joined_text.clear();
        joined_text.extend([left, right]);
        let id = |token: &str| {
            ids.get(token)
                .copied()
                .ok_or_else(|| wrong(format!("{token:?} is not in the vocabulary")))
        };
        merges.push(Merge {
            left: id(left)?,
            right: id(right)?,
            joined: id(&joined_text)?,
        });
        refuse(
            byte_level::read(&joined_text).is_none(),
            &format!("$.model.merges[{place}]"),
            "not in the byte-level alphabet",
        )?;
    }
    Ok(keep_last(merges))
}

/// The merges without the earlier ones of equal pairs.
pub(crate) fn keep_last(mut merges: Vec<Merge>) -> Vec<Merge> {
    let mut seen = FxHashSet::default();
    let mut kept: Vec<bool> = merges
        .iter()
        .rev()
        .map(|merge| seen.insert((merge.left, merge.right)))
        .collect();
    merges.retain(|_| kept.pop().unwrap_or(true));
    merges
}

/// Bytes of each token, and the added ones in order of id.
fn tokens_of(
    vocabulary: Vec<(String, u32)>,
    added: Vec<Added>,
) -> Result<(TokenTable, Vec<AddedToken>)> {
    let mut tokens: FxHashMap<u32, Vec<u8>> = FxHashMap::default();
    let mut names: FxHashMap<u32, String> = FxHashMap::default();
    let contents: FxHashSet<&str> = added.iter().map(|token| token.content.as_str()).collect();
    for (token, id) in vocabulary {
        // Characters outside the alphabet stand for their UTF-8, as the `tokenizers` library decodes them; no text merges to them.
        tokens.insert(
            id,
            byte_level::read(&token).unwrap_or_else(|| token.clone().into_bytes()),
        );
        if contents.contains(token.as_str()) {
            names.insert(id, token);
        }
    }
    drop(contents);
    let mut kept = Vec::with_capacity(added.len());
    for (place, token) in added.into_iter().enumerate() {
        let path = |field: &str| format!("$.added_tokens[{place}]{field}");
        refuse(
            token.content.is_empty(),
            &path(".content"),
            "an added token is empty",
        )?;
        refuse(
            token.id as usize >= MAX_VOCABULARY,
            &path(".id"),
            &format!("id {} is beyond {MAX_VOCABULARY}", token.id),
        )?;
        refuse(token.lstrip, &path(".lstrip"), "lstrip is not covered")?;
        refuse(token.rstrip, &path(".rstrip"), "rstrip is not covered")?;
        refuse(
            token.single_word,
            &path(".single_word"),
            "single_word is not covered",
        )?;
        let same = names.get(&token.id) == Some(&token.content);
        refuse(
            tokens.contains_key(&token.id) && !same,
            &path(".id"),
            &format!("id {} belongs to another token", token.id),
        )?;
        refuse(
            !same && names.values().any(|name| *name == token.content),
            &path(".content"),
            "the vocabulary has this token with another id",
        )?;
        tokens.insert(token.id, token.content.clone().into_bytes());
        names.insert(token.id, token.content.clone());
        kept.push(AddedToken {
            id: token.id,
            content: token.content,
            special: token.special,
            normalized: token.normalized,
        });
    }
    kept.sort_unstable_by_key(|token| token.id);
    kept.dedup_by_key(|token| token.id);
    Ok((TokenTable::of(tokens.into_iter().collect()), kept))
}
