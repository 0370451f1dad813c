//! One validated prompt with its ranked completions, and the pairs it gives.

/// Minimum number of completions of a group: one cannot be compared.
pub const MIN_COMPLETIONS: usize = 2;
/// Maximum number of completions of a group; at 16 a prompt already gives 120 pairs.
pub const MAX_COMPLETIONS: usize = 16;

/// Indices of two completions of one group, the better one first.
pub type Pair = [u32; 2];

/// One answer to a prompt and its rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The answer, without end of text.
    pub text: String,
    /// 1 is best; equal ranks are a tie. Gaps are allowed (1, 1, 3).
    pub rank: u32,
    /// Whether the answer ended by itself (end of text follows) rather than at a length limit.
    pub ended: bool,
    /// The token ids as they were sampled, end of text included, if the record has them; never empty.
    pub ids: Option<Vec<u32>>,
}

/// A prompt and all its completions: one element of a batch, never divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The record's id, unique in its file.
    pub id: String,
    /// The prompt, as plain text.
    pub prompt: String,
    /// Between `MIN_COMPLETIONS` and `MAX_COMPLETIONS` answers, in the record's order.
    pub completions: Vec<Completion>,
    /// Preferences stated one by one. They replace those the ranks imply, because "nearly as good" is not transitive
    /// and no ranks can say a > c where a = b and b = c. Never against the ranks.
    pub stated_pairs: Option<Vec<Pair>>,
    /// Fingerprint of the tokenizer that the completions' ids are of; there where any completion has ids.
    pub tokenizer: Option<String>,
}

impl Group {
    /// Every preference, winner first, each once, ordered by (winner, loser): the stated pairs, or C(K,2) minus ties.
    pub fn pairs(&self) -> Vec<Pair> {
        if let Some(stated) = &self.stated_pairs {
            let mut pairs = stated.clone();
            pairs.sort_unstable();
            return pairs;
        }
        let rank = |index: u32| self.completions[index as usize].rank;
        let indices = 0..self.completions.len() as u32;
        indices
            .clone()
            .flat_map(|winner| indices.clone().map(move |loser| [winner, loser]))
            .filter(|&[winner, loser]| rank(winner) < rank(loser))
            .collect()
    }

    /// Pairs of completions that no preference separates: C(K,2) minus the number of pairs.
    pub fn ties(&self) -> usize {
        let completions = self.completions.len();
        completions * (completions - 1) / 2 - self.pairs().len()
    }
}
