//! The evaluation items: their words, and where runs of words occur in them.

use std::collections::{HashMap, HashSet};

use crate::error::{Error, Result};
use crate::minhash::{each_word, spread};

/// Words of the runs that are looked up.
pub(crate) const GRAM_WORDS: usize = 4;
/// A run of words that more texts share is a common phrase: it is no reason to compare.
const MAX_SHARED: usize = 16;

/// A prompt and its reference answer, as hashes of words.
pub(crate) struct Item {
    pub prompt: Vec<u64>,
    pub answer: Vec<u64>,
    /// The different words of the prompt.
    pub prompt_words: HashSet<u64>,
    /// The different runs of 3 words of the answer.
    pub answer_grams: HashSet<u64>,
}

/// Which text of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    Prompt,
    Answer,
}

/// Where a run of words is in the items.
#[derive(Clone, Copy)]
pub(crate) struct Posting {
    pub item: u32,
    pub part: Part,
    /// Number of its first word.
    pub word: u32,
}

/// All items.
pub(crate) struct Index {
    pub items: Vec<Item>,
    postings: HashMap<u64, Vec<Posting>>,
    /// Bits of hashed runs: most runs of a document are in no item, and one bit says so.
    filter: Vec<u64>,
}

impl Index {
    pub fn new(texts: &[(String, Option<String>)]) -> Result<Self> {
        if texts.len() > u32::MAX as usize {
            let limit = u64::from(u32::MAX);
            return Err(Error::TooMany { limit });
        }
        let items: Vec<Item> = texts.iter().map(Item::new).collect();
        let mut postings: HashMap<u64, Vec<Posting>> = HashMap::new();
        for (number, item) in items.iter().enumerate() {
            for (part, words) in [(Part::Prompt, &item.prompt), (Part::Answer, &item.answer)] {
                for (word, gram) in grams(words, GRAM_WORDS).enumerate() {
                    postings.entry(gram).or_default().push(Posting {
                        item: number as u32,
                        part,
                        word: word as u32,
                    });
                }
            }
        }
        postings.retain(|_, found| is_rare(found));
        let bits = (postings.len() * 16).next_power_of_two().max(64);
        let mut index = Self {
            items,
            postings,
            filter: vec![0; bits / 64],
        };
        for gram in index.postings.keys() {
            let (place, bit) = bit_of(*gram, index.filter.len());
            index.filter[place] |= bit;
        }
        Ok(index)
    }

    /// Where a run of words is in the items; nowhere if it is a common phrase.
    pub fn postings(&self, gram: u64) -> &[Posting] {
        let (place, bit) = bit_of(gram, self.filter.len());
        if self.filter[place] & bit == 0 {
            return &[];
        }
        self.postings.get(&gram).map_or(&[], Vec::as_slice)
    }

    /// Items whose prompt is too short, or made of phrases that many items share, to be found.
    pub fn unsearchable(&self) -> Vec<u32> {
        let mut found = vec![false; self.items.len()];
        let postings = self.postings.values().flatten();
        for posting in postings.filter(|posting| posting.part == Part::Prompt) {
            found[posting.item as usize] = true;
        }
        let numbers = 0..self.items.len() as u32;
        numbers.filter(|number| !found[*number as usize]).collect()
    }
}

impl Item {
    fn new((prompt, answer): &(String, Option<String>)) -> Self {
        let prompt = words_of(prompt);
        let answer = answer.as_deref().map(words_of).unwrap_or_default();
        Self {
            prompt_words: prompt.iter().copied().collect(),
            answer_grams: grams(&answer, 3).collect(),
            prompt,
            answer,
        }
    }
}

/// Hashes of runs of `count` words.
pub(crate) fn grams(words: &[u64], count: usize) -> impl Iterator<Item = u64> {
    words.windows(count).map(move |run| {
        let join = |sum: u64, word: &u64| spread(sum ^ word);
        run.iter().fold(count as u64, join)
    })
}

fn words_of(text: &str) -> Vec<u64> {
    let mut words = Vec::new();
    each_word(text, &mut Vec::new(), |word| words.push(word.hash));
    words
}

fn is_rare(postings: &[Posting]) -> bool {
    let mut items: Vec<u32> = postings.iter().map(|posting| posting.item).collect();
    items.dedup();
    items.len() <= MAX_SHARED
}

fn bit_of(gram: u64, len: usize) -> (usize, u64) {
    ((gram >> 6) as usize & (len - 1), 1 << (gram & 63))
}
