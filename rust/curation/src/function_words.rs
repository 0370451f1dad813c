//! Clear cases of a language, found by its function words in one pass: far faster than trigrams, and rarer to err.
//!
//! The words are those that make up a third or more of any running text: articles, pronouns, prepositions, auxiliaries.
//! A text whose words are not clearly of one language (mixed, terse, code, another script) is left to `whatlang`.

use std::sync::LazyLock;

use whatlang::Lang;

use crate::function_word_lists::WORDS;

/// Bytes of the longest function word.
const LONGEST: usize = 8;
const LANGUAGES: usize = WORDS.len();
const SLOTS: usize = 2048;

/// Least share of the words that are function words of a clear language: 0.28. English prose has 0.42, rarely below 0.3.
const LEAST_PERCENT: u64 = 28;
/// Least function words of a clear language.
const LEAST_WORDS: u64 = 10;

/// A table of all words: open addressing, at most half full.
struct Table {
    /// A word's bytes, the last one lowest; 0 for an empty slot.
    words: [u64; SLOTS],
    /// A bit for each language that has the word.
    languages: [u64; SLOTS],
    /// The lower-case letter of a byte, or 0 for a byte between words.
    letters: [u8; 256],
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// The language whose function words the text has: at least 28 % of its words and 10, and half as many again as of any
/// other language. `None` where no language is that clear.
pub fn clear_language(text: &str) -> Option<Lang> {
    let (counts, words) = TABLE.count(text);
    let best = (0..LANGUAGES).max_by_key(|&language| counts[language])?;
    let found = counts[best];
    let mut others = (0..LANGUAGES).filter(|&language| language != best);
    let is_clear = found >= LEAST_WORDS
        && found * 100 >= words * LEAST_PERCENT
        && others.all(|language| found * 2 >= counts[language] * 3);
    is_clear.then_some(WORDS[best].0)
}

impl Table {
    fn new() -> Self {
        let mut table = Self {
            words: [0; SLOTS],
            languages: [0; SLOTS],
            letters: std::array::from_fn(|byte| match byte as u8 {
                byte if byte.is_ascii_alphabetic() => byte.to_ascii_lowercase(),
                byte if byte >= 0x80 => byte,
                _ => 0,
            }),
        };
        for (language, (_, words)) in WORDS.iter().enumerate() {
            for word in words.split(' ') {
                let word = word
                    .bytes()
                    .fold(0, |word, byte| word << 8 | u64::from(byte));
                let slot = table.slot(word);
                table.words[slot] = word;
                table.languages[slot] |= 1 << language;
            }
        }
        table
    }

    /// The slot that `word` has, or would get.
    #[inline]
    fn slot(&self, word: u64) -> usize {
        let mut slot = (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as usize;
        while self.words[slot] != 0 && self.words[slot] != word {
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    /// Words of each language, and all words; a word is a run of ASCII letters and of bytes beyond ASCII. A character from
    /// U+3000 on, where scripts without spaces begin, is one more word.
    fn count(&self, text: &str) -> ([u64; LANGUAGES], u64) {
        let (mut counts, mut words) = ([0; LANGUAGES], 0);
        let (mut word, mut length) = (0_u64, 0);
        for &byte in text.as_bytes().iter().chain(b" ") {
            let letter = self.letters[byte as usize];
            if letter != 0 {
                word = word << 8 | u64::from(letter);
                length += 1;
                words += u64::from(byte >= 0xe3);
                continue;
            }
            if length > 0 {
                words += 1;
                if length <= LONGEST {
                    let mut languages = self.languages[self.slot(word)];
                    while languages != 0 {
                        counts[languages.trailing_zeros() as usize] += 1;
                        languages &= languages - 1;
                    }
                }
            }
            (word, length) = (0, 0);
        }
        (counts, words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: no table, no bits.
    fn slowly(text: &str) -> Option<Lang> {
        let words: Vec<String> = text
            .split(|character: char| character.is_ascii() && !character.is_ascii_alphabetic())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        let wide = text
            .chars()
            .filter(|character| *character >= '\u{3000}')
            .count();
        let of = |(language, listed): &(Lang, &str)| {
            let found = words
                .iter()
                .filter(|word| listed.split(' ').any(|each| each == **word));
            (found.count(), *language)
        };
        let counts: Vec<(usize, Lang)> = WORDS.iter().map(of).collect();
        let mut clear = counts.iter().filter(|(count, language)| {
            let others = counts.iter().filter(|(_, other)| other != language);
            let most = others.map(|(count, _)| *count).max();
            *count >= 10
                && count * 100 >= (words.len() + wide) * 28
                && most.is_none_or(|other| count * 2 >= other * 3)
        });
        clear.next().map(|(_, language)| *language)
    }

    fn any_text() -> impl Strategy<Value = String> {
        let listed = prop::sample::select(WORDS).prop_map(|(_, words)| words);
        (
            prop::collection::vec(listed, 1..3),
            prop::collection::vec((0_usize..2, 0_usize..99, 0_u8..4), 0..60),
        )
            .prop_map(|(lists, chosen)| {
                let word = |(list, at, kind): (usize, usize, u8)| {
                    let words: Vec<&str> = lists[list % lists.len()].split(' ').collect();
                    match kind {
                        0 => "ström1x-Zz語".to_owned(),
                        1 => words[at % words.len()].to_ascii_uppercase(),
                        _ => words[at % words.len()].to_owned(),
                    }
                };
                chosen.into_iter().map(|each| word(each) + " ").collect()
            })
    }

    proptest! {
        #[test]
        fn the_table_gives_what_the_definition_says(text in any_text(), tail in "\\PC{0,20}") {
            prop_assert_eq!(clear_language(&text), slowly(&text));
            let text = text + &tail;
            prop_assert_eq!(clear_language(&text), slowly(&text));
        }
    }

    #[test]
    fn every_word_is_found_in_its_languages_alone() {
        const { assert!(LANGUAGES <= 64) };
        let every: Vec<&str> = WORDS
            .iter()
            .flat_map(|(_, words)| words.split(' '))
            .collect();
        for word in every {
            assert!((1..=LONGEST).contains(&word.len()), "{word}");
            let (counts, words) = TABLE.count(word);
            let expected = WORDS
                .iter()
                .map(|(_, of)| u64::from(of.split(' ').any(|each| each == word)));
            assert_eq!(counts.to_vec(), expected.collect::<Vec<_>>(), "{word}");
            assert_eq!(words, 1);
        }
        let used = TABLE.words.iter().filter(|&&word| word != 0).count();
        assert!(used * 2 <= SLOTS, "{used}");
    }

    #[test]
    fn words_are_counted_whatever_their_case_and_the_marks_around_them() {
        let (counts, words) = TABLE.count("The (of) AND,to:is\nthough abcdefghthe 12 x-it's");
        assert_eq!((counts[0], words), (6, 10));
        assert_eq!(TABLE.count("  1 2\n"), ([0; LANGUAGES], 0));
    }

    #[test]
    fn share_number_and_distance_are_asked() {
        let text = |english: usize, german: usize, other: usize| {
            "with ".repeat(english) + &"nicht ".repeat(german) + &"zzz ".repeat(other)
        };
        assert_eq!(clear_language(&text(10, 0, 0)), Some(Lang::Eng));
        assert_eq!(clear_language(&text(9, 0, 0)), None);
        assert_eq!(clear_language(&text(28, 0, 72)), Some(Lang::Eng));
        assert_eq!(clear_language(&text(28, 0, 73)), None);
        assert_eq!(clear_language(&text(30, 20, 0)), Some(Lang::Eng));
        assert_eq!(clear_language(&text(30, 21, 0)), None);
        assert_eq!(clear_language(&text(20, 31, 0)), Some(Lang::Deu));
        assert_eq!(clear_language(""), None);
    }
}
