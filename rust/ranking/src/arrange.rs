//! Token ids of a few groups to one batch: tokens, attention layout and where each completion's reward is read.
//!
//! * [`Arrangement::Rows`]: each completion in its own row, after a copy of its prompt. K (P + C) tokens per group.
//! * [`Arrangement::SharedPrefix`]: the prompt once, then the completions as branches which see the prompt and
//!   themselves, positions restarting after the prompt. P + K C tokens: the same rewards for less
//!   (<https://arxiv.org/abs/2410.20305> does so for pairs). K = 9, P = 512, C = 256: 2,816 instead of 6,912.

use stategpt_layout::{Branch, BranchLayout, LayoutError, MAX_TOKENS};

use crate::error::Error;

/// How the completions of a prompt are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// One row per completion.
    Rows,
    /// One row per prompt, its tokens shared by all completions.
    SharedPrefix,
}

impl Arrangement {
    /// The arrangement with the given name, `rows` or `shared_prefix`.
    pub fn named(name: &str) -> Result<Self, Error> {
        match name {
            "rows" => Ok(Self::Rows),
            "shared_prefix" => Ok(Self::SharedPrefix),
            other => Err(Error::UnknownArrangement {
                name: other.to_owned(),
            }),
        }
    }
}

/// Ids of one group, as sampled: the prompt with its control tokens, each completion with its end of text if it ended.
#[derive(Clone, Debug)]
pub struct TokenGroup<'a> {
    /// At least one token.
    pub prompt: &'a [u32],
    /// One or more; the reward token is appended to each here.
    pub completions: Vec<&'a [u32]>,
}

/// One batch. `tokens` and `layout` have one entry per token, padding included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Ids; the rest of a row is the pad id.
    pub tokens: Vec<u32>,
    /// Which tokens each token sees. A pad token is its own segment.
    pub layout: BranchLayout,
    /// Index of each completion's reward token, in the groups' order.
    pub reward_index: Vec<i64>,
    /// Width of a row: the longest segment.
    pub row_tokens: usize,
    /// Tokens that are not padding.
    pub token_count: usize,
}

/// Cuts flat ids into groups: `offsets` holds the ends of every prompt followed by its completions, after a leading 0;
/// `completions` the number of completions of each group.
///
/// # Errors
/// `BadOffsets` where the ids do not give that many prompts and completions.
pub fn token_groups<'a>(
    ids: &'a [u32],
    offsets: &[u64],
    completions: &[u32],
) -> Result<Vec<TokenGroup<'a>>, Error> {
    let counts = completions.iter().map(|&count| count as usize);
    let wanted = counts.clone().map(|count| count + 1).sum::<usize>();
    let pieces: Option<Vec<&[u32]>> = offsets
        .windows(2)
        .map(|ends| ids.get(ends[0] as usize..ends[1] as usize))
        .collect();
    let pieces = pieces.filter(|pieces| pieces.len() == wanted);
    let pieces = pieces.ok_or(Error::BadOffsets {
        offsets: offsets.len(),
        ids: ids.len(),
        wanted,
    })?;
    let mut rest = pieces.as_slice();
    let mut groups = Vec::with_capacity(completions.len());
    for count in counts {
        let (group, after) = rest.split_at(count + 1);
        groups.push(TokenGroup {
            prompt: group[0],
            completions: group[1..].to_vec(),
        });
        rest = after;
    }
    Ok(groups)
}

/// Lays out `groups`; every completion is followed by `reward`, rows are filled up with `pad`.
///
/// # Errors
/// `EmptyGroup` for a group without prompt tokens or completions, `BatchTooLarge` beyond 2^31 - 1 tokens,
/// `OutOfMemory` if they do not fit in memory.
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
    if tokens > MAX_TOKENS as u128 {
        return Err(Error::BatchTooLarge {
            tokens,
            limit: MAX_TOKENS,
        });
    }
    let mut batch = Batch::padding(tokens as usize, row_tokens, pad)?;
    for (place, row) in rows.iter().enumerate() {
        batch.write_row(place * row_tokens, row, reward);
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
    /// A batch of padding. Its memory is reserved at once, so that what does not fit is an error, not an abort.
    fn padding(tokens: usize, row_tokens: usize, pad: u32) -> Result<Self, Error> {
        let mut ids = Vec::new();
        ids.try_reserve_exact(tokens)
            .map_err(|_| Error::OutOfMemory { tokens })?;
        ids.resize(tokens, pad);
        Ok(Self {
            tokens: ids,
            layout: BranchLayout::padding(tokens)?,
            row_tokens,
            ..Self::default()
        })
    }

    fn write_row(&mut self, start: usize, row: &Row<'_>, reward: u32) {
        let (prompt, completions) = row;
        let prefix_end = start + prompt.len();
        self.tokens[start..prefix_end].copy_from_slice(prompt);
        self.layout
            .write(start..prefix_end, Branch::without_prefix(start));
        let mut at = prefix_end;
        for completion in *completions {
            // One completion alone is a plain causal segment: the same keys, and kernels take their fast path.
            let branch = match completions.len() {
                1 => Branch::without_prefix(start),
                _ => Branch::behind(start, prefix_end, at),
            };
            let last = at + completion.len();
            self.tokens[at..last].copy_from_slice(completion);
            self.tokens[last] = reward;
            self.reward_index.push(last as i64);
            self.layout.write(at..last + 1, branch);
            at = last + 1;
        }
        self.token_count += at - start;
    }
}

impl From<LayoutError> for Error {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::OutOfMemory { tokens } => Self::OutOfMemory { tokens },
            other => Self::Layout(other),
        }
    }
}
