//! Reads the added tokens of `tokenizer.json` as the `tokenizers` library does.

use super::bpe::Bpe;
use super::fields::Added;
use super::vocabulary::Vocabulary;
use crate::byte_level;
use crate::error::{Result, short, unsupported};
use crate::keyed::{KeyedMap, KeyedSet};
use crate::model::{AddedToken, MAX_VOCABULARY};

/// The added tokens, in order of id. Empty ones and repeated ones are left out, as the library does.
pub fn read_added(added: Vec<Added<'_>>, vocabulary: &Vocabulary<'_>) -> Result<Vec<AddedToken>> {
    let mut reader = Reader::of(vocabulary);
    for (place, token) in added.into_iter().enumerate() {
        let problem = match reader.check(&token) {
            Ok(()) => continue,
            Err(problem) => problem,
        };
        return unsupported(format!("$.added_tokens[{place}].{}", problem.0), problem.1);
    }
    let mut kept = reader.kept;
    kept.sort_by_key(|token| token.id);
    Ok(kept)
}

struct Reader<'v, 'f> {
    vocabulary: &'v Vocabulary<'f>,
    kept: Vec<AddedToken>,
    /// Index in `kept` by content.
    places: KeyedMap<String, usize>,
    /// The id that the library gives to a token that is not in the vocabulary.
    next: u64,
    /// Ids of the vocabulary, if it has gaps; otherwise the ids that the library assigns are free.
    taken: KeyedSet<u32>,
}

/// A field, and what is unsupported about it.
type Problem = (&'static str, String);

impl<'v, 'f> Reader<'v, 'f> {
    fn of(vocabulary: &'v Vocabulary<'f>) -> Self {
        let next = vocabulary.tokens.len() as u64;
        let ids = || vocabulary.tokens.iter().map(|(_, id)| *id);
        let has_gaps = ids().any(|id| u64::from(id) >= next);
        Self {
            vocabulary,
            kept: Vec::new(),
            places: KeyedMap::default(),
            next,
            taken: ids().filter(|_| has_gaps).collect(),
        }
    }

    /// Keeps a token, unless the library ignores it.
    fn check(&mut self, token: &Added<'_>) -> std::result::Result<(), Problem> {
        let (id, content) = (token.id, &*token.content.0);
        if content.is_empty() {
            return Ok(());
        }
        let shown = || short(content);
        if id as usize >= MAX_VOCABULARY {
            let problem = format!("id {id} is beyond the limit of {MAX_VOCABULARY}");
            return Err(("id", problem));
        }
        let made = AddedToken {
            id,
            content: content.to_owned(),
            special: token.special,
            normalized: token.normalized,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            single_word: token.single_word,
        };
        if let Some(&place) = self.places.get(content) {
            if self.kept[place] == made {
                return Ok(());
            }
            let problem = format!("{} occurs twice, with other flags or ids", shown());
            return Err(("content", problem));
        }
        match self.vocabulary.id(content) {
            Some(known) if known == id => check_byte(content, token.special)?,
            Some(known) => {
                let problem = format!("{} has id {known} in the vocabulary, {id} here", shown());
                return Err(("id", problem));
            }
            // The library assigns these ids itself, whatever the file says.
            None if u64::from(id) != self.next => {
                let problem = format!(
                    "id {id} of {} is not the one the tokenizers library gives it, {}",
                    shown(),
                    self.next
                );
                return Err(("id", problem));
            }
            None if self.taken.contains(&id) => {
                let problem = format!("id {id} belongs to another token in the vocabulary");
                return Err(("id", problem));
            }
            None => {}
        }
        self.next = self.next.max(u64::from(id) + 1);
        self.places.insert(content.to_owned(), self.kept.len());
        self.kept.push(made);
        Ok(())
    }
}

/// An added token that is the token of a byte is produced by plain text. So it must not be a control token, and its text must be
/// that byte.
fn check_byte(content: &str, special: bool) -> std::result::Result<(), Problem> {
    let problem = match byte_level::read(content).as_deref() {
        Some(&[byte]) if content.as_bytes() != [byte] => {
            format!(
                "{content:?} is the name of byte 0x{byte:02X}, but as an added token it is another text"
            )
        }
        Some([_]) if special => {
            format!(
                "{content:?} is flagged special, but it is the token of a byte, which plain text needs"
            )
        }
        _ => return Ok(()),
    };
    Err(("content", problem))
}

/// Checks that where an added token is not cut out beforehand, the library's merges can be reproduced here.
pub fn check_reachable(added: &[AddedToken], model: &Bpe<'_>) -> Result<()> {
    if added.is_empty() {
        return Ok(());
    }
    let any_word = added.iter().any(|token| token.single_word);
    let merged: KeyedSet<u32> = model.merges.iter().map(|merge| merge.joined).collect();
    for token in added {
        let known = model.vocabulary.id(&token.content).is_some();
        let made = merged.contains(&token.id) || known && model.ignore_merges;
        let spelled = byte_level::read(&token.content);
        let differs = spelled.is_some_and(|bytes| bytes != token.content.as_bytes());
        if made && differs {
            let problem = format!(
                "merging makes {} from another text than its text as an added token",
                short(&token.content)
            );
            return unsupported("$.added_tokens", problem);
        }
        if any_word && model.ignore_merges && !known {
            let problem = format!(
                "with single_word tokens and ignore_merges, {} is supported only in the vocabulary",
                short(&token.content)
            );
            return unsupported("$.added_tokens", problem);
        }
    }
    Ok(())
}
