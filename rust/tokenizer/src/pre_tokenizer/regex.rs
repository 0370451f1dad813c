//! A user-defined regular expression: an automaton if it has no look-around, else a backtracking machine. Both count their steps.

use super::dialect::{self, Translated};
use super::linear::{Found, Linear};
use super::machine::Machine;
use super::program::Program;
use super::step_budget::StepBudget;
use crate::error::{Result, TokenizerError};
use regex_automata::hybrid::regex::Cache;
use regex_automata::util::primitives::PatternID;
use std::sync::Arc;

/// The maximum size of a compiled expression, in bytes.
const MAX_AUTOMATON_BYTES: usize = 10 << 20;

/// `\s+(?!\S)` as an alternative: white space without its last character if something else follows. It needs no look-around:
/// either the white space ends the text, or it has at least two characters and the last one is given back.
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
        automaton: Linear,
        /// The alternative whose matches are one character too long.
        gives_back: Option<PatternID>,
    },
    /// By backtracking.
    Trying(Arc<Program>),
}

impl Regex {
    /// Compiles `source`.
    ///
    /// # Errors
    /// [`TokenizerError::BadPattern`] if it is malformed, too large, or outside of the common dialect (see [`dialect`]).
    pub fn new(source: &str) -> Result<Self> {
        let bad = |problem: String| TokenizerError::BadPattern {
            pattern: source.to_owned(),
            problem,
        };
        let translated = dialect::translate(source).map_err(bad)?;
        let engine = match linear_parts(&translated) {
            Some((parts, gives_back)) => Engine::Linear {
                automaton: Linear::new(&parts, MAX_AUTOMATON_BYTES).map_err(bad)?,
                gives_back,
            },
            None => Engine::Trying(Arc::new(Program::of(&translated.whole()).map_err(bad)?)),
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

    /// Whether each search is linear.
    pub fn is_linear(&self) -> bool {
        matches!(self.engine, Engine::Linear { .. })
    }

    /// Calls `pre_token(start, end)` for each match in `text` and for the text between matches.
    pub(super) fn for_each_pre_token(
        &self,
        text: &str,
        steps: &mut StepBudget<'_>,
        pre_token: &mut dyn FnMut(usize, usize, &mut StepBudget<'_>),
    ) -> Result<()> {
        match &self.engine {
            Engine::Linear {
                automaton,
                gives_back,
            } => {
                let mut cache = automaton.cache();
                let outcome = self.walk(text, steps, pre_token, &mut |at, steps| {
                    find(automaton, *gives_back, &mut cache, text, at, steps)
                });
                automaton.put_back(cache);
                outcome
            }
            Engine::Trying(program) => self.walk(text, steps, pre_token, &mut |at, steps| {
                Machine::of(program, text, steps).find(at).map_err(|_| ())
            }),
        }
    }

    fn walk(
        &self,
        text: &str,
        steps: &mut StepBudget<'_>,
        pre_token: &mut dyn FnMut(usize, usize, &mut StepBudget<'_>),
        find: &mut Find<'_>,
    ) -> Result<()> {
        let (mut done, mut at, mut last) = (0, 0, None);
        loop {
            steps.check()?;
            let found = find(at, steps).map_err(|()| match steps.check() {
                Err(interrupted) => interrupted,
                Ok(()) => steps.exhausted(&self.source, at),
            })?;
            let Some((start, end)) = found else {
                break;
            };
            if start == end && last == Some(end) {
                // After an empty match where the last one ended, skip one character.
                let Some(next) = text[at..].chars().next() else {
                    break;
                };
                at += next.len_utf8();
                continue;
            }
            for (from, to) in [(done, start), (start, end)] {
                if from < to {
                    pre_token(from, to, steps);
                }
            }
            (done, at, last) = (end, end, Some(end));
        }
        if done < text.len() {
            pre_token(done, text.len(), steps);
        }
        Ok(())
    }
}

/// Finds the first match at a position or later; an error if the limit of steps is reached.
type Find<'f> =
    dyn FnMut(usize, &mut StepBudget<'_>) -> std::result::Result<Option<(usize, usize)>, ()> + 'f;

fn find(
    automaton: &Linear,
    gives_back: Option<PatternID>,
    cache: &mut Cache,
    text: &str,
    at: usize,
    steps: &mut StepBudget<'_>,
) -> std::result::Result<Option<(usize, usize)>, ()> {
    match automaton.find(cache, text, at, steps) {
        Found::Limit => Err(()),
        Found::Nothing => Ok(None),
        Found::Match {
            start,
            end,
            pattern,
        } => {
            let shorter = Some(pattern) == gives_back;
            let last = text[start..end].chars().next_back().filter(|_| shorter);
            Ok(Some((start, end - last.map_or(0, char::len_utf8))))
        }
    }
}

/// Expressions that, tried in this order, are equivalent to the alternatives of `translated`, and which of them gives its last
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::CancelFlag;
    use proptest::prelude::*;

    /// The pre-tokens of a text, and the steps they took.
    fn cut<'t>(regex: &Regex, text: &'t str) -> Result<(Vec<&'t str>, u64)> {
        let mut pre_tokens = Vec::new();
        let cancel = CancelFlag::default();
        let mut steps = StepBudget::of(text.len(), &cancel);
        regex.for_each_pre_token(text, &mut steps, &mut |start, end, _| {
            pre_tokens.push(&text[start..end]);
        })?;
        Ok((pre_tokens, steps.taken()))
    }

    fn pre_tokens<'t>(regex: &Regex, text: &'t str) -> Vec<&'t str> {
        cut(regex, text).unwrap().0
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
    fn an_empty_match_splits_and_is_not_a_pre_token() {
        let regex = Regex::new(r"(?=b)").unwrap();
        assert_eq!(pre_tokens(&regex, "abab"), ["a", "ba", "b"]);
        assert_eq!(
            pre_tokens(&Regex::new("x*").unwrap(), "axb"),
            ["a", "x", "b"]
        );
    }

    #[test]
    fn the_limit_is_an_error_with_its_position() {
        let regex = Regex::new(r"x|(?:a|a)*(?=b)").unwrap();
        let text = format!("x{}", "a".repeat(60));
        match cut(&regex, &text) {
            Err(TokenizerError::PatternSteps { offset: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_sum_of_all_searches_is_limited() {
        // Each search is linear, but all of them together are not.
        for pattern in [
            r"a*b|a",
            r"\p{L}*1|\p{L}",
            r"(?=(\d{3})+(?!\d))",
            r"\s+(?!\S)|a(?!a*b)c",
        ] {
            let regex = Regex::new(pattern).unwrap();
            for flood in ["a", "1"] {
                let shorter = cut(&regex, &flood.repeat(500)).unwrap().1;
                assert!(shorter < 5_000_000, "{pattern} {shorter}");
            }
        }
        for (pattern, flood) in [
            (r"a*b|a", "a"),
            (r"\p{L}*1|\p{L}", "a"),
            (r"(?=(\d{3})+(?!\d))", "1"),
        ] {
            let outcome = cut(&Regex::new(pattern).unwrap(), &flood.repeat(20_000)).map(|_| ());
            assert!(
                matches!(outcome, Err(TokenizerError::PatternSteps { .. })),
                "{pattern}"
            );
        }
    }

    #[test]
    fn ordinary_text_takes_few_steps() {
        let text = "It costs 1234567.89, or 12 345; see (page 100000).\n\n  The end ".repeat(2000);
        for pattern in [
            r"(?=(\d{3})+(?!\d))",
            r" ?\p{L}+|\d{1,3}(?=(?:\d{3})*\b)?".trim_end_matches(r"(?=(?:\d{3})*\b)?"),
            r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))| ?\p{L}++|\s+(?!\S)|.",
        ] {
            let (_, steps) = cut(&Regex::new(pattern).unwrap(), &text).unwrap();
            assert!(
                steps < 30 * text.len() as u64 + (1 << 21),
                "{pattern}: {steps}"
            );
        }
    }

    #[test]
    fn a_raised_flag_ends_it() {
        let regex = Regex::new(r"(?:a|a)*(?=b)").unwrap();
        let cancel = CancelFlag::default();
        cancel.raise();
        let outcome =
            regex.for_each_pre_token("aab", &mut StepBudget::of(3, &cancel), &mut |_, _, _| {});
        assert!(matches!(outcome, Err(TokenizerError::Interrupted)));
    }

    proptest! {
        #[test]
        fn without_look_around_the_pre_tokens_are_the_same(text in "[ab1 \n\t\u{3000}\u{85}.]{0,40}") {
            let linear = Regex::new(r" ?[a-z]+|\s*[\r\n]+|\s+(?!\S)|\s+|\d{1,3}").unwrap();
            let limited = Regex::new(r" ?[a-z]+|\s*[\r\n]+|(?:\s+(?!\S))|\s+|\d{1,3}").unwrap();
            prop_assert!(linear.is_linear() && !limited.is_linear());
            prop_assert_eq!(pre_tokens(&linear, &text), pre_tokens(&limited, &text));
        }

        #[test]
        fn backtracking_finds_what_another_engine_finds(pattern in pattern(), text in "[ab1 \n\u{e9}]{0,14}") {
            let Ok(translated) = dialect::translate(&pattern) else {
                return Ok(());
            };
            let whole = translated.whole();
            let (Ok(other), Ok(program)) = (fancy_regex::Regex::new(&whole), Program::of(&whole)) else {
                return Ok(());
            };
            let cancel = CancelFlag::default();
            for at in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
                let mut steps = StepBudget::of(text.len(), &cancel);
                let found = Machine::of(&program, &text, &mut steps).find(at).ok();
                let expected = other.find_from_pos(&text, at).unwrap();
                prop_assert_eq!(found, Some(expected.map(|found| (found.start(), found.end()))), "{} {:?} {}", pattern, text, at);
            }
        }
    }

    /// Expressions with every supported construct.
    fn pattern() -> impl Strategy<Value = String> {
        let atom = prop::sample::select(vec![
            "a",
            "b",
            "1",
            " ",
            r"\s",
            r"\S",
            r"\d",
            ".",
            "[ab]",
            r"[^a\s]",
            r"\p{L}",
            r"\x{E9}",
            r"[a-z&&[^b]]",
            "(?i:A|b1)",
            r"\A",
            r"\z",
            r"\n",
        ]);
        let atom = atom.prop_map(str::to_owned);
        atom.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("{one}{two}")),
                (inner.clone(), inner.clone()).prop_map(|(one, two)| format!("(?:{one}|{two})")),
                (
                    inner.clone(),
                    prop::sample::select(vec![
                        "*", "+", "?", "*?", "+?", "??", "*+", "++", "?+", "{2}", "{1,2}",
                        "{0,2}?", "{2,}"
                    ])
                )
                    .prop_map(|(one, times)| format!("(?:{one}){times}")),
                (
                    inner,
                    prop::sample::select(vec!["(?=", "(?!", "(?<=", "(?<!", "(?>"])
                )
                    .prop_map(|(one, opening)| format!("{opening}{one})")),
            ]
        })
    }
}
