//! The C4 rules (Raffel et al., arXiv 1910.10683, section 2.2, with the limits of the published code): lines of web pages
//! that are no prose are removed; a page with a placeholder, with code or with too few sentences is removed as a whole.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use memchr::memchr3_iter;

use crate::statistics::TERMINAL;
use crate::words::has_longer_word;

/// Lower-case parts of a line, and the number of the rule that each belongs to.
const PARTS: [(&str, Part); 9] = [
    ("lorem ipsum", Part::LoremIpsum),
    ("javascript", Part::JavaScript),
    ("{", Part::Brace),
    ("terms of use", Part::Policy),
    ("privacy policy", Part::Policy),
    ("cookie policy", Part::Policy),
    ("uses cookies", Part::Policy),
    ("use of cookies", Part::Policy),
    ("use cookies", Part::Policy),
];
/// What C4 takes for quoted sources of an encyclopedia, beside `[` digits `]`.
const CITATIONS: [&str; 2] = ["[edit]", "[citation needed]"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    LoremIpsum,
    JavaScript,
    Brace,
    Policy,
}

/// Line rules, in the order in which they are asked; a removed line counts for the first.
pub const LINE_RULES: [&str; 5] = [
    "c4_word_characters_max",
    "c4_terminal_punctuation",
    "c4_line_words_min",
    "c4_javascript_lines",
    "c4_policy_lines",
];

/// Which of the rules are asked, with their limits; `None` and `false` switch one off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Lines with a longer word are removed.
    pub word_characters_max: Option<usize>,
    /// Lines that do not end with terminal punctuation, or end with an ellipsis, are removed.
    pub terminal_punctuation: bool,
    /// Lines with fewer words are removed.
    pub line_words_min: Option<usize>,
    /// Lines that mention JavaScript are removed.
    pub javascript_lines: bool,
    /// Lines about cookies, privacy and terms of use are removed.
    pub policy_lines: bool,
    /// Numbers and remarks in brackets are removed from lines.
    pub citations: bool,
    /// A text with this placeholder is removed.
    pub lorem_ipsum: bool,
    /// A text with a brace is removed: it is code.
    pub curly_brace: bool,
    /// A text with fewer sentences in the lines that stay is removed.
    pub sentences_min: Option<usize>,
}

/// What the rules make of a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Lines<'text> {
    /// What stays, and the lines that each of `LINE_RULES` removed.
    Kept(Cow<'text, str>, [u32; 5]),
    /// Removed by a rule, with what it found.
    Removed(&'static str, u64),
}

/// The rules, ready to be asked.
pub struct C4 {
    settings: Settings,
    parts: AhoCorasick,
}

impl C4 {
    /// None where the automaton of the parts cannot be built, which does not happen.
    #[must_use]
    pub fn new(settings: Settings) -> Option<Self> {
        let parts = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(aho_corasick::AhoCorasickKind::DFA))
            .build(PARTS.map(|(part, _)| part))
            .ok()?;
        Some(Self { settings, parts })
    }

    /// Asks the rules of each line of `text`. Blank lines between lines that stay become one blank line.
    #[must_use]
    pub fn ask<'text>(&self, text: &'text str) -> Lines<'text> {
        let mut kept = String::with_capacity(text.len());
        let mut removed = [0; 5];
        let mut sentences = 0;
        let mut blank_before = false;
        for line in text.split('\n') {
            let line = line.trim();
            if line.is_empty() {
                blank_before = true;
                continue;
            }
            let line = match self.line(line) {
                Line::Kept(line) => line,
                Line::Removed(rule) => {
                    removed[rule] += 1;
                    continue;
                }
                Line::Ends(rule) => return Lines::Removed(rule, 1),
            };
            if self.settings.sentences_min.is_some() {
                sentences += count_sentences(&line);
            }
            if !kept.is_empty() {
                kept.push_str(if blank_before { "\n\n" } else { "\n" });
            }
            blank_before = false;
            kept.push_str(&line);
        }
        if self
            .settings
            .sentences_min
            .is_some_and(|least| sentences < least)
        {
            return Lines::Removed("c4_sentences_min", sentences as u64);
        }
        let text = if kept == text {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(kept)
        };
        Lines::Kept(text, removed)
    }

    fn line<'line>(&self, line: &'line str) -> Line<'line> {
        let asked = &self.settings;
        let longest = asked.word_characters_max.unwrap_or(usize::MAX);
        let least = asked.line_words_min.unwrap_or(0);
        if has_longer_word(line, longest) {
            return Line::Removed(0);
        }
        let words = line.split_whitespace().take(least).count();
        let line = if asked.citations {
            without_citations(line)
        } else {
            Cow::Borrowed(line)
        };
        if asked.terminal_punctuation && !is_sentence_end(&line) {
            return Line::Removed(1);
        }
        if words < least {
            return Line::Removed(2);
        }
        let [lorem_ipsum, javascript, brace, policy] = self.parts_of(&line);
        if asked.lorem_ipsum && lorem_ipsum {
            return Line::Ends("c4_lorem_ipsum");
        }
        if asked.javascript_lines && javascript {
            return Line::Removed(3);
        }
        if asked.curly_brace && brace {
            return Line::Ends("c4_curly_brace");
        }
        if asked.policy_lines && policy {
            return Line::Removed(4);
        }
        Line::Kept(line)
    }

    /// Whether the line has a part of each kind.
    fn parts_of(&self, line: &str) -> [bool; 4] {
        let mut found = [false; 4];
        for part in self.parts.find_overlapping_iter(line) {
            found[PARTS[part.pattern().as_usize()].1 as usize] = true;
        }
        found
    }
}

enum Line<'line> {
    Kept(Cow<'line, str>),
    /// By the line rule of this number.
    Removed(usize),
    /// The whole text is removed by this rule.
    Ends(&'static str),
}

fn is_sentence_end(line: &str) -> bool {
    line.ends_with(TERMINAL) && !line.ends_with("...") && !line.ends_with('…')
}

/// Sentences of a line without white space around it: a sentence ends after `.`, `!`, `?` or their like, closing quotation
/// marks and brackets included, where white space or the end of the line follows. Abbreviations are not known, so "Dr. No"
/// has two.
fn count_sentences(line: &str) -> usize {
    if !line.is_ascii() || line.is_empty() {
        return count_sentences_by_character(line);
    }
    // The last sentence has no white space after it.
    1 + memchr3_iter(b'.', b'!', b'?', line.as_bytes())
        .filter(|&end| {
            let mut after = line.as_bytes()[end + 1..].iter();
            after
                .find(|byte| !matches!(byte, b'"' | b'\'' | b')' | b']'))
                .is_some_and(|byte| matches!(byte, b'\t'..=b'\r' | b' '))
        })
        .count()
}

/// The same for any line.
fn count_sentences_by_character(line: &str) -> usize {
    let is_end = |character| {
        matches!(
            character,
            '.' | '!' | '?' | '…' | '。' | '！' | '？' | '؟' | '।' | '۔'
        )
    };
    let closes = |character| matches!(character, '"' | '\'' | ')' | ']' | '”' | '’' | '»');
    let (mut sentences, mut after_end, mut open) = (0, false, false);
    for character in line.chars() {
        if is_end(character) {
            after_end = true;
            open = true;
        } else if character.is_whitespace() {
            if after_end {
                sentences += 1;
                open = false;
            }
            after_end = false;
        } else {
            after_end = after_end && closes(character);
            open = true;
        }
    }
    sentences + usize::from(open)
}

/// The line without `[12]`, `[]`, `[edit]` and `[citation needed]`, and without white space that is then at its end.
fn without_citations(line: &str) -> Cow<'_, str> {
    if !line.contains('[') {
        return Cow::Borrowed(line);
    }
    let (mut found, mut rest) = (String::with_capacity(line.len()), line);
    while let Some(place) = rest.find('[') {
        found.push_str(&rest[..place]);
        rest = &rest[place..];
        let width = citation(rest);
        if width == 0 {
            found.push('[');
        }
        rest = &rest[width.max(1)..];
    }
    found.push_str(rest);
    Cow::Owned(found.trim().to_owned())
}

/// Bytes of the citation that `text`, which starts with a bracket, starts with; 0 for none.
fn citation(text: &str) -> usize {
    let digits = text.as_bytes()[1..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if text.as_bytes().get(1 + digits) == Some(&b']') {
        return digits + 2;
    }
    let mut known = CITATIONS.iter().filter(|known| text.starts_with(**known));
    known.next().map_or(0, |known| known.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sentences_of_an_ascii_line_are_those_by_character(line in "[ab.!?\"')\\] \t\r\x0b]{0,24}") {
            let line = line.trim();
            prop_assert_eq!(count_sentences(line), count_sentences_by_character(line));
        }
    }
}
