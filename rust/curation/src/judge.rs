//! All steps that look at one text alone, in their order: cleaning, line rules, text rules, language.

use std::borrow::Cow;

use crate::c4::{C4, LINE_RULES, Lines, Settings};
use crate::clean::clean;
use crate::error::Error;
use crate::language::Languages;
use crate::rules::{RULES, Selection};
use crate::statistics::{Measure, Statistics};

/// What becomes of a text.
#[derive(Debug, PartialEq)]
pub enum Verdict<'text> {
    /// It stays, as this text; and the number of lines that each rule of `LINE_RULES` removed.
    Kept(Cow<'text, str>, [u32; 5]),
    /// It is removed by a rule, for a value.
    Removed(&'static str, Value),
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, to be compared with the threshold.
    Number(f64),
    /// A language and how certain it is.
    Language(&'static str, f64),
}

/// The steps, ready to be used on many texts by one thread.
pub struct Judge {
    cleans: bool,
    c4: Option<C4>,
    selection: Selection,
    measures: bool,
    languages: Option<Languages>,
    measure: Measure,
}

impl Judge {
    /// `thresholds`: the rules that are asked.
    ///
    /// # Errors
    /// An unknown rule or language, or a threshold that is no number.
    pub fn new(
        cleans: bool,
        thresholds: &[(String, f64)],
        languages: Option<Languages>,
    ) -> Result<Self, Error> {
        let selection = Selection::new(thresholds)?;
        let asks_lines = selection.asked.iter().any(|(rule, _)| rule.value.is_none());
        let c4 = match asks_lines {
            true => Some(C4::new(settings(&selection)).ok_or(Error::Automaton)?),
            false => None,
        };
        let measures = selection.asked.iter().any(|(rule, _)| rule.value.is_some());
        Ok(Self {
            cleans,
            c4,
            selection,
            measures,
            languages,
            measure: Measure::default(),
        })
    }

    /// Asks all rules of one text.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn ask<'text>(&mut self, text: &'text str) -> Result<Verdict<'text>, Error> {
        check_size(text)?;
        let text = if self.cleans {
            clean(text)
        } else {
            Cow::Borrowed(text)
        };
        if self.cleans && text.is_empty() {
            return Ok(Verdict::Removed("clean_empty", Value::Number(0.0)));
        }
        let mut removed = [0; LINE_RULES.len()];
        let text = match &self.c4 {
            None => text,
            Some(c4) => match ask_lines(c4, text) {
                Ok((text, lines)) => {
                    removed = lines;
                    text
                }
                Err((rule, value)) => {
                    return Ok(Verdict::Removed(rule, Value::Number(value as f64)));
                }
            },
        };
        if self.measures
            && let Some((rule, value)) = self.selection.broken(&self.measure.of(&text))
        {
            return Ok(Verdict::Removed(rule, Value::Number(value)));
        }
        if let Some(languages) = &self.languages
            && let Some((language, confidence)) = languages.foreign(&text)
        {
            return Ok(Verdict::Removed(
                "language",
                Value::Language(language, confidence),
            ));
        }
        Ok(Verdict::Kept(text, removed))
    }
}

/// A text after the rules of lines, with the lines that each removed; or the rule that removed the text, and its value.
type AskedLines<'text> = Result<(Cow<'text, str>, [u32; 5]), (&'static str, u64)>;

fn ask_lines<'text>(c4: &C4, text: Cow<'text, str>) -> AskedLines<'text> {
    let (edited, lines) = match &text {
        Cow::Borrowed(text) => match c4.ask(text) {
            Lines::Kept(text, lines) => return Ok((text, lines)),
            Lines::Removed(rule, value) => return Err((rule, value)),
        },
        Cow::Owned(owned) => match c4.ask(owned) {
            Lines::Kept(Cow::Borrowed(_), lines) => (None, lines),
            Lines::Kept(Cow::Owned(edited), lines) => (Some(edited), lines),
            Lines::Removed(rule, value) => return Err((rule, value)),
        },
    };
    Ok((edited.map_or(text, Cow::Owned), lines))
}

fn check_size(text: &str) -> Result<(), Error> {
    match u32::try_from(text.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::TooLong { bytes: text.len() }),
    }
}

fn settings(selection: &Selection) -> Settings {
    let number = |name| selection.threshold(name).map(|value| value as usize);
    let is_on = |name| selection.threshold(name).is_some();
    Settings {
        word_characters_max: number("c4_word_characters_max"),
        terminal_punctuation: is_on("c4_terminal_punctuation"),
        line_words_min: number("c4_line_words_min"),
        javascript_lines: is_on("c4_javascript_lines"),
        policy_lines: is_on("c4_policy_lines"),
        citations: is_on("c4_citations"),
        lorem_ipsum: is_on("c4_lorem_ipsum"),
        curly_brace: is_on("c4_curly_brace"),
        sentences_min: number("c4_sentences_min"),
    }
}

/// The value of every rule of texts, by name: what `Judge` compares with thresholds.
///
/// # Errors
/// [`Error::TooLong`].
pub fn values(text: &str) -> Result<Vec<(&'static str, f64)>, Error> {
    check_size(text)?;
    let statistics: Statistics = Measure::default().of(text);
    let of = |rule: &'static crate::rules::Rule| Some((rule.name, rule.value?(&statistics)));
    Ok(RULES.iter().filter_map(of).collect())
}
