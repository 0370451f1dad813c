//! The pre-tokenization patterns: their names, and their regular expressions in `tokenizer.json`.

use crate::error::{Result, TokenizerError};

/// How text is split into pre-tokens before merging. No token crosses a pre-token boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// GPT-2: an optional space before a run of letters, numbers or other characters.
    Gpt2,
    /// GPT-4 (cl100k) and Llama 3: numbers in threes, any character may precede a word, line ends belong to the text before them.
    Gpt4,
    /// Qwen 2 and 3: as GPT-4, but each number character is separate.
    Qwen,
    /// GPT-4o (o200k): as GPT-4, but words are split where small letters are followed by capitals, and contractions belong to
    /// their word.
    O200k,
}

/// GPT-2's pattern, which `tokenizer.json` writes as `ByteLevel` with `use_regex`.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// cl100k as OpenAI first published it; the current form in tiktoken differs only in white space at the end of a text, where
/// cl100k has no token that would show it.
const GPT4: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Pattern {
    /// All names that [`Pattern::named`] accepts.
    pub const NAMES: [&'static str; 5] = ["gpt2", "gpt4", "llama3", "o200k", "qwen"];

    /// The pattern with a name.
    ///
    /// # Errors
    /// [`TokenizerError::UnknownPattern`] lists the known names.
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

    /// Its first name (Llama 3's pattern is GPT-4's, so its name is `gpt4`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Gpt4 => "gpt4",
            Self::Qwen => "qwen",
            Self::O200k => "o200k",
        }
    }

    /// Its regular expression.
    pub fn regex(self) -> &'static str {
        match self {
            Self::Gpt2 => GPT2,
            Self::Gpt4 => GPT4,
            Self::Qwen => QWEN,
            Self::O200k => O200K,
        }
    }

    /// The pattern with exactly this regular expression; `None` if it is not one of ours.
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
    fn names_and_regexes_map_back_to_their_pattern() {
        for name in Pattern::NAMES {
            let pattern = Pattern::named(name).unwrap();
            assert_eq!(Pattern::named(pattern.name()).unwrap(), pattern);
            assert_eq!(Pattern::of_regex(pattern.regex()), Some(pattern));
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let message = Pattern::named("gpt5").unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown pattern \"gpt5\"; choose one of gpt2, gpt4, llama3, o200k, qwen"
        );
    }
}
