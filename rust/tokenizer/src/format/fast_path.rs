//! Fast path for `tokenizer.json` in its usual form: vocabulary before merges, no key twice.
//!
//! A large file is half a million strings, and most of the loading time would be a general JSON parser's work around each of
//! them. Files in another form, or wrong ones, give `None`; the general parser then reads them or reports what is wrong.

use super::bpe::{Bpe, MAX_MERGES, MergeText};
use super::cursor::Cursor;
use super::fields::File;
use super::vocabulary::{Vocabulary, VocabularyBuilder};
use crate::model::Merge;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// The fields of a file in the usual form.
pub fn read(text: &str) -> Option<File<'_>> {
    let mut cursor = Cursor::of(text);
    let (mut file, mut fields) = (File::default(), Fields::default());
    cursor.entries(*b"{}", |cursor| {
        let field = fields.next(cursor)?;
        match &*field {
            "truncation" => file.truncation = cursor.value()?,
            "padding" => file.padding = cursor.value()?,
            "added_tokens" => file.added_tokens = cursor.value()?,
            "normalizer" => file.normalizer = cursor.value()?,
            "pre_tokenizer" => file.pre_tokenizer = cursor.value()?,
            "post_processor" => file.post_processor = cursor.value()?,
            "decoder" => file.decoder = cursor.value()?,
            "model" => file.model = model(cursor)?,
            _ => drop(cursor.value::<IgnoredAny>()?),
        }
        Some(())
    })?;
    (fields.has("model") && cursor.peek().is_none()).then_some(file)
}

fn model<'f>(cursor: &mut Cursor<'f>) -> Option<Bpe<'f>> {
    let (mut bpe, mut fields) = (Bpe::default(), Fields::default());
    cursor.entries(*b"{}", |cursor| {
        let field = fields.next(cursor)?;
        match &*field {
            "type" => bpe.kind = cursor.value()?,
            "dropout" => bpe.dropout = cursor.value()?,
            "continuing_subword_prefix" => bpe.prefix = cursor.value()?,
            "end_of_word_suffix" => bpe.suffix = cursor.value()?,
            "ignore_merges" => bpe.ignore_merges = cursor.value::<Option<bool>>()?.unwrap_or(false),
            "unk_token" => bpe.unknown_token = cursor.value()?,
            "fuse_unk" => bpe.fuse_unknown = cursor.value::<Option<bool>>()?.unwrap_or(false),
            "byte_fallback" => bpe.byte_fallback = cursor.value::<Option<bool>>()?.unwrap_or(false),
            "vocab" => bpe.vocabulary = vocabulary(cursor)?,
            "merges" if fields.has("vocab") => bpe.merges = merges(cursor, &bpe.vocabulary)?,
            "merges" => return None,
            _ => drop(cursor.value::<IgnoredAny>()?),
        }
        Some(())
    })?;
    fields.has("merges").then_some(bpe)
}

fn vocabulary<'f>(cursor: &mut Cursor<'f>) -> Option<Vocabulary<'f>> {
    let mut builder = VocabularyBuilder::default();
    cursor.entries(*b"{}", |cursor| {
        let token = cursor.string()?;
        cursor.take(b':')?;
        builder.push(token, cursor.number()?).ok()
    })?;
    builder.vocabulary().ok()
}

fn merges<'f>(cursor: &mut Cursor<'f>, vocabulary: &Vocabulary<'f>) -> Option<Vec<Merge>> {
    let mut merges = Vec::with_capacity(vocabulary.tokens.len());
    let mut joined = Joined {
        vocabulary,
        last: 0,
    };
    cursor.entries(*b"[]", |cursor| {
        let (left, right) = parts(cursor)?;
        merges.push(joined.merge(&left, &right)?);
        (merges.len() <= MAX_MERGES).then_some(())
    })?;
    merges.shrink_to_fit();
    Some(merges)
}

/// The two parts of a merge.
#[inline]
fn parts<'f>(cursor: &mut Cursor<'f>) -> Option<(Cow<'f, str>, Cow<'f, str>)> {
    if cursor.take(b'[').is_some() {
        let left = cursor.string()?;
        cursor.take(b',')?;
        let right = cursor.string()?;
        return cursor.take(b']').map(|()| (left, right));
    }
    let text = match cursor.string()? {
        Cow::Borrowed(text) => MergeText::of(text),
        Cow::Owned(text) => MergeText::of(&text).map(MergeText::into_owned),
    };
    let text = text.ok().filter(|text| !text.is_version)?;
    Some((text.left, text.right))
}

/// Finds the joined tokens of merges: mostly the token after the previous one, or the previous one.
struct Joined<'v, 'f> {
    vocabulary: &'v Vocabulary<'f>,
    /// The index of the previous joined token.
    last: usize,
}

impl Joined<'_, '_> {
    #[inline]
    fn merge(&mut self, left: &str, right: &str) -> Option<Merge> {
        let is_joined = |place: &usize| {
            let token = self.vocabulary.tokens.get(*place);
            token.is_some_and(|(text, _)| text.strip_prefix(left) == Some(right))
        };
        self.last = match (self.last..self.last + 2).find(is_joined) {
            Some(place) => place,
            None => self.vocabulary.place(&[left, right].concat())?,
        };
        Some(Merge {
            left: self.vocabulary.id(left)?,
            right: self.vocabulary.id(right)?,
            joined: self.vocabulary.tokens[self.last].1,
        })
    }
}

/// The names of an object's fields, each of which may occur once.
#[derive(Default)]
struct Fields<'f>(Vec<Cow<'f, str>>);

impl<'f> Fields<'f> {
    /// The name of the next field.
    fn next(&mut self, cursor: &mut Cursor<'f>) -> Option<Cow<'f, str>> {
        let name = cursor.string()?;
        cursor.take(b':')?;
        let is_new = !self.has(&name);
        self.0.push(name.clone());
        is_new.then_some(name)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::huggingface::{read_any, write};
    use crate::model::AddedToken;
    use crate::train::tests::trained;
    use proptest::prelude::*;
    use serde_json::Value;

    /// A file in its canonical form, in one line with merges as pairs, and with merges before the vocabulary.
    fn files(corpus: &str, merges: usize) -> [String; 3] {
        let mut model = trained(corpus, 256 + merges);
        let end = model.tokens.len() as u32;
        model.tokens.push(end, |bytes| bytes.extend(b"<|end|>"));
        model.added = vec![AddedToken::control(end, "<|end|>".to_owned())];
        let text = write(&model);
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        let merges = lines
            .iter_mut()
            .skip_while(|line| !line.starts_with("\"merges\""));
        for merge in merges.filter(|line| line.starts_with('"')).skip(1) {
            let parts = merge.trim_end_matches(',').replace(' ', "\",\"");
            let comma = if merge.ends_with(',') { "," } else { "" };
            *merge = format!("[{parts}]{comma}");
        }
        // The keys of a `Value` are sorted.
        let sorted: Value = serde_json::from_str(&text).unwrap();
        [text, lines.concat(), sorted.to_string()]
    }

    /// The fast path gives the same result as the general parser.
    fn compare(text: &str) -> Result<bool, TestCaseError> {
        let Some(quick) = read(text) else {
            return Ok(false);
        };
        let slow = read_any(text).and_then(File::into_model);
        let quick = quick.into_model();
        prop_assert_eq!(
            quick.map_err(|error| error.to_string()),
            slow.map_err(|error| error.to_string())
        );
        Ok(true)
    }

    proptest! {
        #[test]
        fn any_change_of_a_file(
            corpus in "a[ab\"\\\\é ]{0,60}",
            kind in 0_usize..3,
            places in proptest::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}:,\"\\\\ ab01]?"), 0..3),
        ) {
            let mut text = files(&corpus, 12)[kind].clone();
            for (place, new) in places {
                let characters: Vec<char> = text.chars().collect();
                let at = place.index(characters.len());
                let (before, after) = (&characters[..at], &characters[at + 1..]);
                text = before.iter().chain(new.chars().collect::<Vec<_>>().iter()).chain(after).collect();
            }
            compare(&text)?;
        }
    }

    #[test]
    fn files_in_the_usual_form_are_read() {
        let [canonical, pairs, sorted] = files("abc \"abc\" \\abc\\ ééé", 20);
        assert!(compare(&canonical).unwrap());
        assert!(compare(&pairs).unwrap());
        assert!(pairs.contains("[\"a\",\"b\"]"), "{pairs}");
        assert!(read(&sorted).is_none());
    }

    #[test]
    fn a_repeated_key_is_left_to_the_general_parser() {
        let [text, ..] = files("ab ab", 2);
        for (name, twice) in [
            ("\"padding\": null", "\"padding\": null, \"padding\": null"),
            ("\"dropout\": null", "\"dropout\": null, \"dropout\": null"),
            ("\"vocab\": {", "\"vocab\": {}, \"vocab\": {"),
            ("\"merges\": [", "\"merges\": [], \"merges\": ["),
        ] {
            assert!(text.contains(name), "{name}");
            assert!(read(&text.replace(name, twice)).is_none(), "{name}");
        }
        assert!(read(&text).is_some());
    }
}
