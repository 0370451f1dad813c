//! The pre-tokenization patterns: their names, and the regular expressions they stand for in `tokenizer.json`.

use crate::error::{Result, TokenizerError};

/// How text is cut into pre-tokens before merging. No token crosses a pre-token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// GPT-2: an optional space before a run of letters, numbers or other characters.
    Gpt2,
    /// GPT-4 (cl100k) and Llama 3: numbers in threes, any character may lead a word, line ends stay with what precedes them.
    Gpt4,
    /// Qwen 2 and 3: as GPT-4, each number character alone.
    Qwen,
    /// GPT-4o (o200k): as GPT-4, words cut where small letters turn to capitals, contractions stay with their word.
    O200k,
}

/// GPT-2's pattern, which `tokenizer.json` writes as `ByteLevel` with `use_regex`.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// cl100k as OpenAI published it first; the form in tiktoken today differs only in white space that ends a text, where cl100k has no token that could tell.
const GPT4: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Pattern {
    /// Every name [`Pattern::named`] takes.
    pub const NAMES: [&'static str; 5] = ["gpt2", "gpt4", "llama3", "o200k", "qwen"];

    /// The pattern of that name.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownPattern`] lists the names there are.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "gpt2" => Ok(Self::Gpt2),
            "gpt4" | "llama3" => Ok(Self::Gpt4),
            "qwen" => Ok(Self::Qwen),
            "o200k" => Ok(Self::O200k),
            _ => Err(TokenizerError::UnknownPattern {
                name: name.to_owned(),
                known: Self::NAMES.join(", "),
            }),
        }
    }

    /// Its first name (Llama 3's pattern is GPT-4's, so it answers `gpt4`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Gpt4 => "gpt4",
            Self::Qwen => "qwen",
            Self::O200k => "o200k",
        }
    }

    /// The regular expression it stands for.
    pub fn regex(self) -> &'static str {
        match self {
            Self::Gpt2 => GPT2,
            Self::Gpt4 => GPT4,
            Self::Qwen => QWEN,
            Self::O200k => O200K,
        }
    }

    /// The pattern a regular expression from a file stands for; `None` if it is none of ours, letter for letter.
    pub fn of_regex(regex: &str) -> Option<Self> {
        [Self::Gpt2, Self::Gpt4, Self::Qwen, Self::O200k]
            .into_iter()
            .find(|pattern| pattern.regex() == regex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_regexes_lead_back_to_their_pattern() {
        for name in Pattern::NAMES {
            let pattern = Pattern::named(name).unwrap();
            assert_eq!(Pattern::named(pattern.name()).unwrap(), pattern);
            assert_eq!(Pattern::of_regex(pattern.regex()), Some(pattern));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let message = Pattern::named("gpt5").unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown pattern \"gpt5\"; choose one of gpt2, gpt4, llama3, o200k, qwen"
        );
    }
}
