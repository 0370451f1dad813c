//! A regular expression of the user's own. In linear time where it has no look-around, else under a limit of steps.

use super::dialect::{self, Translated};
use crate::error::{Result, TokenizerError};
use regex_automata::meta;
use regex_automata::util::primitives::PatternID;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

/// Times a regular expression with look-around may go back for one piece.
pub const STEPS_MOST: usize = 1_000_000;
/// Bytes a compiled expression may take.
const SIZE_MOST: usize = 10 << 20;

/// `\s+(?!\S)` as an alternative: white space less its last character where something else follows. It needs no
/// look-around: either the white space ends the text, or there are two characters of it and the last one is given back.
const TRAILING_SPACE: &str = r"\s+(?!\S)";
const TRAILING_SPACE_PARTS: [&str; 2] = [r"\s+\z", r"\s+\s"];

/// A compiled regular expression with Oniguruma's meaning.
#[derive(Debug, Clone)]
pub struct Regex {
    source: String,
    engine: Engine,
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

#[derive(Debug, Clone)]
enum Engine {
    /// Every search is linear in the text.
    Linear {
        regex: meta::Regex,
        /// The alternative whose match ends one character earlier than it says.
        gives_back: Option<PatternID>,
    },
    /// Backtracking, at most [`STEPS_MOST`] times a search.
    Limited(Box<fancy_regex::Regex>),
}

impl Regex {
    /// Compiles `source`.
    ///
    /// # Errors
    /// [`TokenizerError::BadPattern`] if it is malformed, too large, or not of the common dialect (see [`dialect`]).
    pub fn new(source: &str) -> Result<Self> {
        let bad = |problem: String| TokenizerError::BadPattern {
            pattern: source.to_owned(),
            problem,
        };
        let translated = dialect::translate(source).map_err(bad)?;
        let engine = match linear_parts(&translated) {
            Some((parts, gives_back)) => Engine::Linear {
                regex: compile(&parts).map_err(bad)?,
                gives_back,
            },
            None => Engine::Limited(Box::new(
                fancy_regex::RegexBuilder::new(&translated.whole())
                    .backtrack_limit(STEPS_MOST)
                    .delegate_size_limit(SIZE_MOST)
                    .build()
                    .map_err(|error| bad(error.to_string()))?,
            )),
        };
        Ok(Self {
            source: source.to_owned(),
            engine,
        })
    }

    /// The expression as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether no text can bring it to a limit.
    pub fn is_linear(&self) -> bool {
        matches!(self.engine, Engine::Linear { .. })
    }

    /// Calls `piece(start, end)` for each match in `text` and for the text between matches.
    pub(super) fn for_each_piece(
        &self,
        text: &str,
        piece: &mut dyn FnMut(usize, usize),
    ) -> Result<()> {
        let (mut done, mut at, mut last) = (0, 0, None);
        while let Some((start, end)) = self.find(text, at)? {
            if start == end && last == Some(end) {
                // An empty match where the last one ended leads nowhere: on by one character.
                let Some(next) = text[at..].chars().next() else {
                    break;
                };
                at += next.len_utf8();
                continue;
            }
            for (from, to) in [(done, start), (start, end)] {
                if from < to {
                    piece(from, to);
                }
            }
            (done, at, last) = (end, end, Some(end));
        }
        if done < text.len() {
            piece(done, text.len());
        }
        Ok(())
    }

    /// The first match at `at` or later.
    fn find(&self, text: &str, at: usize) -> Result<Option<(usize, usize)>> {
        match &self.engine {
            Engine::Linear { regex, gives_back } => {
                let found = regex.search(&Input::new(text).span(at..text.len()));
                Ok(found.map(|found| {
                    let shorter = Some(found.pattern()) == *gives_back;
                    let last = if shorter {
                        text[..found.end()].chars().next_back()
                    } else {
                        None
                    };
                    (found.start(), found.end() - last.map_or(0, char::len_utf8))
                }))
            }
            Engine::Limited(regex) => match regex.find_from_pos(text, at) {
                Ok(found) => Ok(found.map(|found| (found.start(), found.end()))),
                Err(_) => Err(TokenizerError::PatternSteps {
                    pattern: self.source.clone(),
                    offset: at,
                    limit: STEPS_MOST,
                }),
            },
        }
    }
}

/// Expressions that, tried in this order, are the alternatives of `translated` in theirs, and which of them gives its last
/// character back; `None` if look-around is needed.
fn linear_parts(translated: &Translated) -> Option<(Vec<String>, Option<PatternID>)> {
    let alternatives = &translated.alternatives;
    let join = |some: &[dialect::Alternative]| {
        let texts: Vec<&str> = some.iter().map(|one| one.text.as_str()).collect();
        texts.join("|")
    };
    let mut looking = alternatives.iter().enumerate().filter(|(_, one)| one.looks);
    match (looking.next(), looking.next()) {
        (None, _) => Some((vec![join(alternatives)], None)),
        (Some((place, one)), None) if one.text == TRAILING_SPACE => {
            let mut parts = Vec::with_capacity(4);
            if place > 0 {
                parts.push(join(&alternatives[..place]));
            }
            parts.extend(TRAILING_SPACE_PARTS.map(str::to_owned));
            let gives_back = PatternID::new(parts.len() - 1).ok()?;
            if place + 1 < alternatives.len() {
                parts.push(join(&alternatives[place + 1..]));
            }
            Some((parts, Some(gives_back)))
        }
        _ => None,
    }
}

fn compile(parts: &[String]) -> std::result::Result<meta::Regex, String> {
    let config = meta::Config::new()
        .match_kind(MatchKind::LeftmostFirst)
        .nfa_size_limit(Some(SIZE_MOST));
    let built = meta::Regex::builder()
        .configure(config)
        .syntax(syntax::Config::new().nest_limit(100))
        .build_many(parts);
    built.map_err(|error| match error.syntax_error() {
        Some(problem) => problem.to_string(),
        None => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces<'t>(regex: &Regex, text: &'t str) -> Vec<&'t str> {
        let mut pieces = Vec::new();
        regex
            .for_each_piece(text, &mut |start, end| pieces.push(&text[start..end]))
            .unwrap();
        pieces
    }

    #[test]
    fn only_look_around_other_than_trailing_space_is_limited() {
        let linear = [r"\p{L}+|\s+(?!\S)|\s+", r"a|b", r"\s+(?!\S)"];
        assert!(
            linear
                .iter()
                .all(|one| Regex::new(one).unwrap().is_linear())
        );
        let limited = [
            r"\p{L}+(?=x)|\s+(?!\S)",
            r"(?<!a)b",
            r"(?>a+)b",
            r"a++b",
            r"(?:\s+(?!\S))",
        ];
        assert!(
            !limited
                .iter()
                .any(|one| Regex::new(one).unwrap().is_linear())
        );
    }

    #[test]
    fn an_empty_match_cuts_and_is_no_piece() {
        let regex = Regex::new(r"(?=b)").unwrap();
        assert_eq!(pieces(&regex, "abab"), ["a", "ba", "b"]);
        assert_eq!(pieces(&Regex::new("x*").unwrap(), "axb"), ["a", "x", "b"]);
    }

    #[test]
    fn the_limit_is_an_error_with_its_place() {
        let regex = Regex::new(r"x|(?:a|a)*(?=b)").unwrap();
        let text = format!("x{}", "a".repeat(60));
        match regex.for_each_piece(&text, &mut |_, _| {}) {
            Err(TokenizerError::PatternSteps {
                offset: 1,
                limit: STEPS_MOST,
                ..
            }) => {}
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn without_look_around_the_pieces_are_the_same(text in "[ab1 \n\t\u{3000}\u{85}.]{0,40}") {
            let linear = Regex::new(r" ?[a-z]+|\s*[\r\n]+|\s+(?!\S)|\s+|\d{1,3}").unwrap();
            let limited = Regex::new(r" ?[a-z]+|\s*[\r\n]+|(?:\s+(?!\S))|\s+|\d{1,3}").unwrap();
            prop_assert!(linear.is_linear() && !limited.is_linear());
            prop_assert_eq!(pieces(&linear, &text), pieces(&limited, &text));
        }
    }
}
