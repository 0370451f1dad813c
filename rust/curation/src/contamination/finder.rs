//! Leaks of evaluation items in documents.
//!
//! A document that quotes a prompt is innocent; one that also answers it is not. An item leaks where
//! * `prompt_and_answer`: the words of its prompt occur in order in the document, up to edits (`min_coverage`), and its
//!   answer is near: an answer of up to 8 words as a whole, a longer one by half of its runs of 3 words; or
//! * `verbatim`: a run of `verbatim_words` words of its prompt or its answer is in the document.

use std::collections::{HashMap, HashSet};

use super::alignment::{Alignment, align, window};
use super::index::{GRAM_WORDS, Index, Item, Part, grams};
use crate::error::{Error, Result};
use crate::minhash::{Word, each_word};
use crate::parallel::in_parts;

/// Longer answers are found by parts.
const WHOLE_ANSWER_WORDS: usize = 8;
/// Share of a longer answer's runs of 3 words that must be near.
const MIN_ANSWER_SHARE: f64 = 0.5;
/// An answer of one word is a common word: it counts only within this many words after the prompt.
const ONE_WORD_DISTANCE: usize = 10;
/// A prompt of fewer words must be there as a whole.
const SHORT_PROMPT_WORDS: usize = 8;

/// What counts as a leak.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakRules {
    /// Share of the prompt's words, in order.
    pub min_coverage: f64,
    /// Words between the prompt and its answer.
    pub answer_distance: usize,
    /// Words of a run that is a leak without an answer.
    pub verbatim_words: usize,
}

/// Why an item counts as leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeakRule {
    /// The prompt, up to edits, and its answer nearby.
    PromptAndAnswer,
    /// A long run of words.
    Verbatim,
}

/// An item found in a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leak {
    /// Number of the item.
    pub item: u32,
    /// Why.
    pub rule: LeakRule,
    /// The matched part of the document, in bytes.
    pub span: (usize, usize),
    /// The answer, in bytes; for `Verbatim` None.
    pub answer: Option<(usize, usize)>,
    /// Words that match.
    pub matched_words: usize,
    /// Share of the prompt's (or answer's) words that match.
    pub coverage: f64,
}

/// Evaluation items that documents are searched for.
pub struct LeakFinder {
    index: Index,
    rules: LeakRules,
}

impl LeakFinder {
    /// Indexes pairs of a prompt and its reference answer.
    pub fn new(items: &[(String, Option<String>)], rules: LeakRules) -> Result<Self> {
        if !(rules.min_coverage > 0.0 && rules.min_coverage <= 1.0) {
            return Err(Error::Setting {
                name: "min_coverage",
                value: rules.min_coverage.to_string(),
                rule: "it is above 0 and at most 1",
            });
        }
        if rules.verbatim_words < GRAM_WORDS {
            return Err(Error::Setting {
                name: "verbatim_words",
                value: rules.verbatim_words.to_string(),
                rule: "it is at least 4",
            });
        }
        let index = Index::new(items)?;
        Ok(Self { index, rules })
    }

    /// Numbers of the items that cannot be found: shorter than 4 words, or of phrases that more than 16 items share.
    #[must_use]
    pub fn unsearchable(&self) -> Vec<u32> {
        self.index.unsearchable()
    }

    /// The leaks of each text, at most one per item, in the order of the items.
    #[must_use]
    pub fn find_in(&self, texts: &[&str], threads: usize) -> Vec<Vec<Leak>> {
        in_parts(texts, threads, |part| {
            part.iter().map(|text| self.find(text)).collect()
        })
    }

    /// The leaks of one text.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Leak> {
        let mut words: Vec<Word> = Vec::new();
        each_word(text, &mut Vec::new(), |word| words.push(word));
        let hashes: Vec<u64> = words.iter().map(|word| word.hash).collect();
        let mut search = Search {
            finder: self,
            words: &words,
            hashes: &hashes,
            compared: HashMap::new(),
            runs: HashMap::new(),
            found: HashMap::new(),
        };
        for (at, gram) in grams(&hashes, GRAM_WORDS).enumerate() {
            for posting in self.index.postings(gram) {
                let is_found = search.found.contains_key(&posting.item);
                if !is_found {
                    search.meet(at, posting.item, posting.part, posting.word as usize);
                }
            }
        }
        let mut leaks: Vec<Leak> = search.found.into_values().collect();
        leaks.sort_by_key(|leak| leak.item);
        leaks
    }
}

/// The search of one document.
struct Search<'a> {
    finder: &'a LeakFinder,
    words: &'a [Word],
    hashes: &'a [u64],
    /// By item: words of the document before this one were compared with its prompt.
    compared: HashMap<u32, usize>,
    /// By item, part and diagonal: words before this one were searched for a run.
    runs: HashMap<(u32, Part, usize), usize>,
    found: HashMap<u32, Leak>,
}

impl Search<'_> {
    /// Four words of the document from `at` on are those of the item's part from `word` on.
    fn meet(&mut self, at: usize, number: u32, part: Part, word: usize) {
        let item = &self.finder.index.items[number as usize];
        let leak = self.verbatim(item, at, number, part, word).or_else(|| {
            let is_prompt = part == Part::Prompt;
            is_prompt
                .then(|| self.answered(item, at, number, word))
                .flatten()
        });
        if let Some(leak) = leak {
            self.found.insert(number, leak);
        }
    }

    /// A leak if the run around the four words is long enough.
    fn verbatim(
        &mut self,
        item: &Item,
        at: usize,
        number: u32,
        part: Part,
        word: usize,
    ) -> Option<Leak> {
        let wanted = match part {
            Part::Prompt => &item.prompt,
            Part::Answer => &item.answer,
        };
        if wanted.len() < self.finder.rules.verbatim_words {
            return None;
        }
        let diagonal = (number, part, at + wanted.len() - word);
        if self.runs.get(&diagonal).is_some_and(|end| at < *end) {
            return None;
        }
        let run = wanted[word..].iter().zip(&self.hashes[at..]);
        let len = run.take_while(|(one, other)| one == other).count();
        self.runs.insert(diagonal, at + len);
        (len >= self.finder.rules.verbatim_words).then(|| Leak {
            item: number,
            rule: LeakRule::Verbatim,
            span: self.bytes(at, at + len),
            answer: None,
            matched_words: len,
            coverage: len as f64 / wanted.len() as f64,
        })
    }

    /// A leak if the words around hold enough of the prompt, and an answer follows or precedes.
    fn answered(&mut self, item: &Item, at: usize, number: u32, word: usize) -> Option<Leak> {
        if item.answer.is_empty() || self.compared.get(&number).is_some_and(|end| at < *end) {
            return None;
        }
        let prompt = &item.prompt;
        let needed = self.needed(prompt.len());
        let slack = 4 + prompt.len() / 5;
        let (from, to) = window(prompt.len(), self.hashes.len(), (word, at), slack);
        // Where this comparison fails, one that starts a few words later sees nearly the same words.
        self.compared.insert(number, at + 1 + slack / 2);
        let of_prompt = |hash: &&u64| item.prompt_words.contains(*hash);
        if self.hashes[from..to].iter().filter(of_prompt).count() < needed {
            return None;
        }
        let alignment = align(prompt, self.hashes, (word, at), slack);
        if alignment.matched < needed {
            return None;
        }
        self.compared.insert(number, alignment.end);
        let answer = self.answer(item, alignment)?;
        Some(Leak {
            item: number,
            rule: LeakRule::PromptAndAnswer,
            span: self.bytes(alignment.start, alignment.end),
            answer: Some(self.bytes(answer.0, answer.1)),
            matched_words: alignment.matched,
            coverage: alignment.matched as f64 / prompt.len() as f64,
        })
    }

    /// Words of a prompt that must be found.
    fn needed(&self, prompt_words: usize) -> usize {
        if prompt_words < SHORT_PROMPT_WORDS {
            return prompt_words;
        }
        (prompt_words as f64 * self.finder.rules.min_coverage).ceil() as usize
    }

    /// The words of the document that answer the prompt found at `prompt`: after it, or before it.
    fn answer(&self, item: &Item, prompt: Alignment) -> Option<(usize, usize)> {
        let answer = &item.answer;
        let distance = self.finder.rules.answer_distance;
        if answer.len() == 1 {
            let distance = distance.min(ONE_WORD_DISTANCE);
            return self.whole(answer, prompt.end, prompt.end + 1 + distance);
        }
        let reach = distance + answer.len() + answer.len() / 2;
        let after = (prompt.end, prompt.end + reach);
        let before = (prompt.start.saturating_sub(reach), prompt.start);
        [after, before].into_iter().find_map(|(from, to)| {
            if answer.len() <= WHOLE_ANSWER_WORDS {
                self.whole(answer, from, to)
            } else {
                self.parts(item, from, to)
            }
        })
    }

    /// The answer word by word.
    fn whole(&self, answer: &[u64], from: usize, to: usize) -> Option<(usize, usize)> {
        let area = &self.hashes[from..to.min(self.hashes.len())];
        let mut places = area.windows(answer.len());
        let at = from + places.position(|words| words == answer)?;
        Some((at, at + answer.len()))
    }

    /// Enough runs of 3 words of the answer.
    fn parts(&self, item: &Item, from: usize, to: usize) -> Option<(usize, usize)> {
        let area = &self.hashes[from..to.min(self.hashes.len())];
        let mut met = HashSet::new();
        let mut span: Option<(usize, usize)> = None;
        for (at, gram) in grams(area, 3).enumerate() {
            if item.answer_grams.contains(&gram) {
                met.insert(gram);
                let first = span.map_or(from + at, |(start, _)| start);
                span = Some((first, from + at + 3));
            }
        }
        let share = met.len() as f64 / item.answer_grams.len() as f64;
        span.filter(|_| share >= MIN_ANSWER_SHARE)
    }

    fn bytes(&self, from: usize, to: usize) -> (usize, usize) {
        (self.words[from].start, self.words[to - 1].end)
    }
}
