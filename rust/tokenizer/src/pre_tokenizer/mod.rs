//! Pre-tokenizer: splits text into pre-tokens, by a named pattern or by user-defined steps, each of which splits the parts that
//! the previous one left.

mod dialect;
mod linear;
mod machine;
mod node;
mod program;
mod regex;
mod set;
mod step_budget;

use self::step_budget::StepBudget;
use crate::cancel::CancelFlag;
use crate::error::Result;
use crate::pattern::Pattern;
use crate::scan;
use std::sync::Arc;

pub use regex::Regex;

/// How text is split into pre-tokens before merging. No token crosses a pre-token boundary.
#[derive(Debug, Clone, PartialEq)]
pub enum PreTokenizer {
    /// A hand-written scanner. It cannot fail.
    Named(Pattern),
    /// Regular expressions, applied one after the other. They can reach their limit of steps.
    Steps(Arc<[Step]>),
}

/// One step of a pre-tokenizer.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A hand-written scanner.
    Named(Pattern),
    /// The matches of a regular expression are pre-tokens, and so is the text between them.
    Regex(Regex),
}

impl From<Pattern> for PreTokenizer {
    fn from(pattern: Pattern) -> Self {
        Self::Named(pattern)
    }
}

impl PreTokenizer {
    /// The pre-tokenizer for a name or a regular expression. A string of only letters, digits, `-` and `_` is taken for a name.
    ///
    /// # Errors
    /// [`crate::TokenizerError::UnknownPattern`] for an unknown name, [`crate::TokenizerError::BadPattern`] for a regular
    /// expression that is malformed or has another meaning in Oniguruma, the engine of the `tokenizers` library.
    pub fn of(pattern: &str) -> Result<Self> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if pattern.bytes().all(is_name) {
            return Ok(Self::Named(Pattern::named(pattern)?));
        }
        Ok(Self::of_steps(vec![Step::of_regex(pattern)?]))
    }

    /// The pre-tokenizer with these steps; a single named one needs no list.
    pub fn of_steps(steps: Vec<Step>) -> Self {
        match steps[..] {
            [Step::Named(pattern)] => Self::Named(pattern),
            _ => Self::Steps(steps.into()),
        }
    }

    /// The pattern's name, or the regular expressions, joined by ` then `.
    pub fn name(&self) -> String {
        match self {
            Self::Named(pattern) => pattern.name().to_owned(),
            Self::Steps(steps) => {
                let names: Vec<&str> = steps.iter().map(Step::name).collect();
                names.join(" then ")
            }
        }
    }

    /// Calls `pre_token(start, end)` for each pre-token of `text`, in order; the pre-tokens cover the text without gaps.
    ///
    /// Regular expressions match characters: where bytes are not UTF-8, the text before and after them is split separately, and
    /// each run of such bytes is a pre-token. (For a named pattern such a byte is a character like a punctuation mark.)
    ///
    /// # Errors
    /// [`crate::TokenizerError::PatternSteps`] if regular expressions reach their limit of steps, which grows with the text;
    /// [`crate::TokenizerError::Interrupted`] if `cancel` was raised.
    pub fn for_each_pre_token(
        &self,
        text: &[u8],
        cancel: &CancelFlag,
        mut pre_token: impl FnMut(usize, usize),
    ) -> Result<()> {
        match self {
            Self::Named(pattern) => scan::for_each_pre_token(*pattern, text, pre_token),
            Self::Steps(steps) => {
                let mut left = StepBudget::of(text.len(), cancel);
                for run in byte_runs(text) {
                    match run {
                        ByteRun::Text { start, text } => {
                            split(steps, text, start, &mut left, &mut pre_token)?
                        }
                        ByteRun::Invalid { start, end } => pre_token(start, end),
                    }
                }
            }
        }
        Ok(())
    }
}

impl Step {
    /// The step for a regular expression: a hand-written scanner if there is one.
    ///
    /// # Errors
    /// As [`PreTokenizer::of`].
    pub fn of_regex(regex: &str) -> Result<Self> {
        Ok(match Pattern::of_regex(regex) {
            Some(pattern) => Self::Named(pattern),
            None => Self::Regex(Regex::new(regex)?),
        })
    }

    /// The regular expression.
    pub fn regex(&self) -> &str {
        match self {
            Self::Named(pattern) => pattern.regex(),
            Self::Regex(regex) => regex.source(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Named(pattern) => pattern.name(),
            Self::Regex(regex) => regex.source(),
        }
    }
}

/// Splits `text`, which begins at `base`, by the first step, and each part by the remaining steps.
fn split(
    steps: &[Step],
    text: &str,
    base: usize,
    left: &mut StepBudget<'_>,
    pre_token: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let Some((step, rest)) = steps.split_first() else {
        pre_token(base, base + text.len());
        return Ok(());
    };
    let mut outcome = Ok(());
    let mut deeper = |start: usize, end: usize, left: &mut StepBudget<'_>| {
        if rest.is_empty() {
            pre_token(base + start, base + end);
        } else if outcome.is_ok() {
            outcome = split(rest, &text[start..end], base + start, left, pre_token);
        }
    };
    match step {
        Step::Named(pattern) => {
            scan::for_each_pre_token(*pattern, text.as_bytes(), |start, end| {
                deeper(start, end, left)
            });
        }
        Step::Regex(regex) => regex
            .for_each_pre_token(text, left, &mut deeper)
            .map_err(|error| error.at_offset(base))?,
    }
    outcome
}

/// A run of bytes that is valid UTF-8, or one that is not.
enum ByteRun<'t> {
    Text { start: usize, text: &'t str },
    Invalid { start: usize, end: usize },
}

/// The valid runs of `bytes`, and the invalid bytes between them, in order.
fn byte_runs(bytes: &[u8]) -> impl Iterator<Item = ByteRun<'_>> {
    let mut chunks = bytes.utf8_chunks().peekable();
    let mut at = 0;
    let mut invalid = None;
    std::iter::from_fn(move || {
        if let Some(start) = invalid.take() {
            let mut end = at;
            // Consecutive invalid bytes are one run, however many broken characters they are.
            while let Some(next) = chunks.next_if(|next| next.valid().is_empty()) {
                end += next.invalid().len();
            }
            at = end;
            return Some(ByteRun::Invalid { start, end });
        }
        let chunk = chunks.next()?;
        let (start, text) = (at, chunk.valid());
        at += text.len();
        let broken = at;
        at += chunk.invalid().len();
        if !chunk.invalid().is_empty() {
            invalid = Some(broken);
        }
        Some(ByteRun::Text { start, text })
    })
    .filter(|run| !matches!(run, ByteRun::Text { text: "", .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TokenizerError;

    fn pre_tokens<'t>(pre_tokenizer: &PreTokenizer, text: &'t [u8]) -> Vec<&'t [u8]> {
        let mut pre_tokens = Vec::new();
        pre_tokenizer
            .for_each_pre_token(text, &CancelFlag::default(), |start, end| {
                pre_tokens.push(&text[start..end])
            })
            .unwrap();
        assert_eq!(pre_tokens.concat(), text);
        pre_tokens
    }

    #[test]
    fn matches_and_the_text_between_them_are_pre_tokens() {
        let pre_tokenizer = PreTokenizer::of(r"\p{N}{1,3}|[a-z]+").unwrap();
        let expected: [&[u8]; 6] = [b"--", b"abc", b"123", b"4", b" + ", b"x"];
        assert_eq!(pre_tokens(&pre_tokenizer, b"--abc1234 + x"), expected);
    }

    #[test]
    fn steps_split_the_parts_that_earlier_steps_left() {
        let steps = [r"\p{N}{1,3}", r" ?\p{L}+"].map(|regex| Step::of_regex(regex).unwrap());
        let pre_tokenizer = PreTokenizer::of_steps(steps.into());
        let expected: [&[u8]; 5] = [b"ab", b" cd", b"123", b"4", b" ef"];
        assert_eq!(pre_tokens(&pre_tokenizer, b"ab cd1234 ef"), expected);
        assert_eq!(pre_tokenizer.name(), r"\p{N}{1,3} then  ?\p{L}+");
    }

    #[test]
    fn invalid_bytes_are_separate_pre_tokens() {
        let pre_tokenizer = PreTokenizer::of(r"\S+").unwrap();
        let expected: [&[u8]; 5] = [b"\xFF\xE4\xB8", b"ab", b" ", "é".as_bytes(), b"\xC3"];
        assert_eq!(
            pre_tokens(&pre_tokenizer, b"\xFF\xE4\xB8ab \xC3\xA9\xC3"),
            expected
        );
    }

    #[test]
    fn a_word_is_taken_for_a_name() {
        assert!(matches!(
            PreTokenizer::of("gpt5"),
            Err(TokenizerError::UnknownPattern { .. })
        ));
        assert_eq!(PreTokenizer::of("llama3").unwrap(), Pattern::Gpt4.into());
        assert_eq!(
            PreTokenizer::of(Pattern::Qwen.regex()).unwrap(),
            Pattern::Qwen.into()
        );
    }
}
