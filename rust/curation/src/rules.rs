//! The rules by name, each with its published threshold.

use crate::error::Error;
use crate::statistics::Statistics;

/// How a rule reads its threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A text whose value is below the threshold is removed.
    AtLeast,
    /// A text whose value is above the threshold is removed.
    AtMost,
    /// The rule has no threshold: it is asked (1) or not (0).
    Switch,
}

/// A rule: its name, what it measures and where its threshold is from.
pub struct Rule {
    /// `group_name`.
    pub name: &'static str,
    /// How the threshold is read.
    pub limit: Limit,
    /// The published threshold.
    pub threshold: f64,
    /// What the value is.
    pub meaning: &'static str,
    /// The value of a text; `None` for the rules of lines (`c4`).
    pub value: Option<fn(&Statistics) -> f64>,
}

macro_rules! rule {
    ($name:literal, $limit:ident $threshold:literal, $meaning:literal) => {
        Rule {
            name: $name,
            limit: Limit::$limit,
            threshold: $threshold,
            meaning: $meaning,
            value: None,
        }
    };
    ($name:literal, $limit:ident $threshold:literal, $meaning:literal, $value:expr) => {
        Rule {
            name: $name,
            limit: Limit::$limit,
            threshold: $threshold,
            meaning: $meaning,
            value: Some($value),
        }
    };
}

/// `part / whole`, 0 where there is no whole.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    part as f64 / whole as f64
}

/// Every rule, in the order in which they are asked; a removed document counts for the first that it breaks.
///
/// c4: Raffel et al., arXiv 1910.10683, and the limits of the published code. gopher: Rae et al., arXiv 2112.11446,
/// section A1.1 and table A1. fineweb: Penedo et al., arXiv 2406.17557, section 3.5.
pub const RULES: &[Rule] = &[
    rule!("c4_word_characters_max", AtMost 1000.0, "characters of the longest word of a line that is kept"),
    rule!("c4_citations", Switch 1.0, "removes [12], [edit] and [citation needed] from lines"),
    rule!("c4_terminal_punctuation", Switch 1.0, "removes lines that do not end with terminal punctuation"),
    rule!("c4_line_words_min", AtLeast 3.0, "words of a line that is kept"),
    rule!("c4_lorem_ipsum", Switch 1.0, "removes texts with the placeholder lorem ipsum"),
    rule!("c4_javascript_lines", Switch 1.0, "removes lines that mention JavaScript"),
    rule!("c4_curly_brace", Switch 1.0, "removes texts with an opening curly brace"),
    rule!("c4_policy_lines", Switch 1.0, "removes lines about cookies, privacy and terms of use"),
    rule!("c4_sentences_min", AtLeast 5.0, "sentences in the lines that are kept"),
    rule!("gopher_quality_words_min", AtLeast 50.0, "words", |text| text.words as f64),
    rule!("gopher_quality_words_max", AtMost 100_000.0, "words", |text| text.words as f64),
    rule!("gopher_quality_word_length_min", AtLeast 3.0, "mean characters of a word", |text| share(text.word_characters, text.words)),
    rule!("gopher_quality_word_length_max", AtMost 10.0, "mean characters of a word", |text| share(text.word_characters, text.words)),
    rule!("gopher_quality_hashes", AtMost 0.1, "number signs per word", |text| share(text.hashes, text.words)),
    rule!("gopher_quality_ellipses", AtMost 0.1, "ellipses per word", |text| share(text.ellipses, text.words)),
    rule!("gopher_quality_bullet_lines", AtMost 0.9, "share of lines that start with a bullet", |text| share(text.bullet_lines, text.lines)),
    rule!("gopher_quality_ellipsis_lines", AtMost 0.3, "share of lines that end with an ellipsis", |text| share(text.ellipsis_lines, text.lines)),
    rule!("gopher_quality_alphabetic_words", AtLeast 0.8, "share of words with an alphabetic character", |text| share(text.alphabetic_words, text.words)),
    rule!("gopher_quality_stop_words", AtLeast 2.0, "different English stop words", |text| text.stop_words as f64),
    rule!("gopher_repetition_duplicate_lines", AtMost 0.3, "share of lines that occurred before", |text| share(text.duplicate_lines, text.lines)),
    rule!("gopher_repetition_duplicate_paragraphs", AtMost 0.3, "share of paragraphs that occurred before", |text| share(text.duplicate_paragraphs, text.paragraphs)),
    rule!("gopher_repetition_duplicate_line_characters", AtMost 0.2, "share of characters in lines that occurred before", |text| share(text.duplicate_line_characters, text.characters)),
    rule!("gopher_repetition_duplicate_paragraph_characters", AtMost 0.2, "share of characters in paragraphs that occurred before", |text| share(text.duplicate_paragraph_characters, text.characters)),
    rule!("gopher_repetition_top_2_grams", AtMost 0.2, "share of characters in the most frequent 2-gram of words", |text| share(text.ngrams.top[0], text.characters)),
    rule!("gopher_repetition_top_3_grams", AtMost 0.18, "share of characters in the most frequent 3-gram of words", |text| share(text.ngrams.top[1], text.characters)),
    rule!("gopher_repetition_top_4_grams", AtMost 0.16, "share of characters in the most frequent 4-gram of words", |text| share(text.ngrams.top[2], text.characters)),
    rule!("gopher_repetition_duplicate_5_grams", AtMost 0.15, "share of characters in 5-grams of words that occurred before", |text| share(text.ngrams.duplicate[0], text.characters)),
    rule!("gopher_repetition_duplicate_6_grams", AtMost 0.14, "share of characters in 6-grams of words that occurred before", |text| share(text.ngrams.duplicate[1], text.characters)),
    rule!("gopher_repetition_duplicate_7_grams", AtMost 0.13, "share of characters in 7-grams of words that occurred before", |text| share(text.ngrams.duplicate[2], text.characters)),
    rule!("gopher_repetition_duplicate_8_grams", AtMost 0.12, "share of characters in 8-grams of words that occurred before", |text| share(text.ngrams.duplicate[3], text.characters)),
    rule!("gopher_repetition_duplicate_9_grams", AtMost 0.11, "share of characters in 9-grams of words that occurred before", |text| share(text.ngrams.duplicate[4], text.characters)),
    rule!("gopher_repetition_duplicate_10_grams", AtMost 0.1, "share of characters in 10-grams of words that occurred before", |text| share(text.ngrams.duplicate[5], text.characters)),
    rule!("fineweb_punctuated_lines", AtLeast 0.12, "share of lines that end with terminal punctuation", |text| share(text.punctuated_lines, text.lines)),
    rule!("fineweb_duplicate_line_characters", AtMost 0.1, "share of characters, line feeds left out, in lines that occurred before", |text| share(text.duplicate_line_characters, text.characters - text.line_feeds)),
    rule!("fineweb_short_lines", AtMost 0.67, "share of lines of at most 30 characters", |text| share(text.short_lines, text.lines)),
    rule!("length_characters_min", AtLeast 1.0, "characters", |text| text.characters as f64),
    rule!("length_characters_max", AtMost 1_000_000.0, "characters", |text| text.characters as f64),
];

/// The rules that are asked, with their thresholds.
pub struct Selection {
    /// Rule and threshold, in the order of `RULES`.
    pub asked: Vec<(&'static Rule, f64)>,
}

impl Selection {
    /// Rules by name with their thresholds; a switch with the threshold 0 is not asked.
    ///
    /// # Errors
    /// [`Error::UnknownRule`], [`Error::BadThreshold`].
    pub fn new(thresholds: &[(String, f64)]) -> Result<Self, Error> {
        for (name, threshold) in thresholds {
            if !RULES.iter().any(|rule| rule.name == name) {
                return Err(Error::UnknownRule { name: name.clone() });
            }
            if !threshold.is_finite() || *threshold < 0.0 {
                return Err(Error::BadThreshold {
                    name: name.clone(),
                    threshold: *threshold,
                });
            }
        }
        let of = |rule: &'static Rule| {
            let (_, threshold) = thresholds.iter().find(|(name, _)| rule.name == name)?;
            (rule.limit != Limit::Switch || *threshold > 0.0).then_some((rule, *threshold))
        };
        Ok(Self {
            asked: RULES.iter().filter_map(of).collect(),
        })
    }

    /// The threshold of a rule that is asked.
    #[must_use]
    pub fn threshold(&self, name: &str) -> Option<f64> {
        let (_, threshold) = self.asked.iter().find(|(rule, _)| rule.name == name)?;
        Some(*threshold)
    }

    /// The first rule that a text breaks, and its value.
    #[must_use]
    pub fn broken(&self, statistics: &Statistics) -> Option<(&'static str, f64)> {
        self.asked.iter().find_map(|(rule, threshold)| {
            let value = rule.value?(statistics);
            let breaks = match rule.limit {
                Limit::AtLeast => value < *threshold,
                Limit::AtMost => value > *threshold,
                Limit::Switch => false,
            };
            breaks.then_some((rule.name, value))
        })
    }
}
