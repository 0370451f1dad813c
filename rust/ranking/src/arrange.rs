//! Token ids of a few groups to one batch: tokens, attention layout and where each completion's reward is read.
//!
//! A layout has four int32 vectors over one flat stream of rows (see `stategpt-packing`); token t sees the keys
//! `[segment_start, prefix_end)` and `[branch_start, t]`.
//!
//! * [`Arrangement::Rows`]: each completion in a row of its own behind a copy of its prompt. K (P + C) tokens a group.
//! * [`Arrangement::SharedPrefix`]: the prompt once, then the completions as branches which see the prompt and
//!   themselves, positions restarting behind the prompt. P + K C tokens: the same rewards for less
//!   (<https://arxiv.org/abs/2410.20305> does so for pairs). K = 9, P = 512, C = 256: 2,816 instead of 6,912.

use crate::error::Error;

/// How the completions of a prompt are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// One row per completion.
    Rows,
    /// One row per prompt, its tokens shared by all completions.
    SharedPrefix,
}

/// Ids of one group, as sampled: the prompt with its control tokens, each completion with its end of text if it ended.
#[derive(Clone, Debug)]
pub struct TokenGroup<'a> {
    /// At least one token.
    pub prompt: &'a [u32],
    /// One or more; the reward token is appended to each here.
    pub completions: Vec<&'a [u32]>,
}

/// One batch. All vectors but `reward_index` have one entry per token, padding included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Ids; what is left of a row is the pad id.
    pub tokens: Vec<u32>,
    /// First token of the token's segment. A pad token is a segment of its own.
    pub segment_start: Vec<i32>,
    /// End of the prefix it sees beside its own branch.
    pub prefix_end: Vec<i32>,
    /// First token of its branch.
    pub branch_start: Vec<i32>,
    /// Visible tokens before it.
    pub position: Vec<i32>,
    /// Index of each completion's reward token, in the groups' order.
    pub reward_index: Vec<i64>,
    /// Width of a row: the longest segment.
    pub row_tokens: usize,
    /// Tokens that are not padding.
    pub token_count: usize,
}

/// Lays out `groups`; every completion is followed by `reward`, rows are filled up with `pad`.
///
/// # Errors
/// `EmptyGroup` for a group without prompt tokens or completions, `BatchTooLarge` beyond 2^31 - 1 tokens,
/// `OutOfMemory` where they do not fit the memory.
pub fn arrange(
    groups: &[TokenGroup<'_>],
    arrangement: Arrangement,
    reward: u32,
    pad: u32,
) -> Result<Batch, Error> {
    for (
        group,
        TokenGroup {
            prompt,
            completions,
        },
    ) in groups.iter().enumerate()
    {
        if prompt.is_empty() || completions.is_empty() {
            let (prompt_tokens, completions) = (prompt.len(), completions.len());
            return Err(Error::EmptyGroup {
                group,
                prompt_tokens,
                completions,
            });
        }
    }
    let rows: Vec<Row<'_>> = match arrangement {
        Arrangement::SharedPrefix => groups
            .iter()
            .map(|g| (g.prompt, g.completions.as_slice()))
            .collect(),
        Arrangement::Rows => groups
            .iter()
            .flat_map(|g| {
                g.completions
                    .chunks(1)
                    .map(|completion| (g.prompt, completion))
            })
            .collect(),
    };
    let row_tokens = rows.iter().map(row_length).max().unwrap_or(0);
    let tokens = rows.len() as u128 * row_tokens as u128;
    if tokens > i32::MAX as u128 {
        return Err(Error::BatchTooLarge {
            tokens,
            limit: i32::MAX as u32,
        });
    }
    let mut batch = Batch {
        row_tokens,
        ..Batch::default()
    };
    batch.reserve(tokens as usize)?;
    for (place, row) in rows.iter().enumerate() {
        batch.push_row(row, reward);
        batch.pad_to((place + 1) * row_tokens, pad);
    }
    Ok(batch)
}

/// A prompt and the completions that share one copy of it.
type Row<'a> = (&'a [u32], &'a [&'a [u32]]);

fn row_length((prompt, completions): &Row<'_>) -> usize {
    prompt.len()
        + completions
            .iter()
            .map(|completion| completion.len() + 1)
            .sum::<usize>()
}

impl Batch {
    /// Takes the memory for `tokens` tokens at once, so that what does not fit is an error and not the end.
    fn reserve(&mut self, tokens: usize) -> Result<(), Error> {
        let vectors = [
            &mut self.segment_start,
            &mut self.prefix_end,
            &mut self.branch_start,
            &mut self.position,
        ];
        self.tokens
            .try_reserve_exact(tokens)
            .and_then(|()| {
                vectors
                    .into_iter()
                    .try_for_each(|vector| vector.try_reserve_exact(tokens))
            })
            .map_err(|_| Error::OutOfMemory { tokens })
    }

    fn push_row(&mut self, row: &Row<'_>, reward: u32) {
        let (prompt, completions) = row;
        let segment = self.tokens.len() as i32;
        let prefix_end = segment + prompt.len() as i32;
        self.push_branch(prompt, segment, segment, segment);
        for completion in *completions {
            // One completion alone is a plain causal segment: the same keys, and kernels take their fast way.
            let alone = completions.len() == 1;
            let (prefix, branch) = if alone {
                (segment, segment)
            } else {
                (prefix_end, self.tokens.len() as i32)
            };
            self.push_branch(completion, segment, prefix, branch);
            self.push_branch(&[reward], segment, prefix, branch);
            self.reward_index.push(self.tokens.len() as i64 - 1);
        }
        self.token_count += row_length(row);
    }

    /// Appends tokens that see `[segment, prefix_end)` and `[branch, themselves]`; a position counts those keys.
    fn push_branch(&mut self, ids: &[u32], segment: i32, prefix_end: i32, branch: i32) {
        for &id in ids {
            let here = self.tokens.len() as i32;
            self.tokens.push(id);
            self.segment_start.push(segment);
            self.prefix_end.push(prefix_end);
            self.branch_start.push(branch);
            self.position.push((prefix_end - segment) + (here - branch));
        }
    }

    fn pad_to(&mut self, tokens: usize, pad: u32) {
        while self.tokens.len() < tokens {
            let here = self.tokens.len() as i32;
            self.push_branch(&[pad], here, here, here);
        }
    }
}
