//! What can be wrong with one record. The code is stable: programs may match on it; the text may improve.

/// Why a record was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The line is not one JSON value.
    #[error("not valid JSON at column {column}: {detail}")]
    InvalidJson {
        /// Column of the line, from 1.
        column: usize,
        /// What the parser said.
        detail: String,
    },
    /// An object has one key twice.
    #[error("the key {key:?} appears twice in one object; keep one of them")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The line starts with a byte-order mark, as where files were joined. At the start of a file it is skipped.
    #[error(
        "the line starts with a byte-order mark (EF BB BF); remove it, it is allowed at the start of a file only"
    )]
    ByteOrderMark,
    /// The line is not UTF-8.
    #[error("not UTF-8 from byte {byte} of the line on; save the file as UTF-8")]
    NotUtf8 {
        /// First bad byte, counted from the start of the line.
        byte: usize,
    },
    /// The line is longer than the reader holds in memory.
    #[error("the line has {bytes} bytes, more than {limit}; is a newline missing?")]
    LineTooLong {
        /// Bytes of the line.
        bytes: u64,
        /// The reader's limit.
        limit: u64,
    },
    /// A field that every record has is not there.
    #[error("{field} is missing")]
    MissingField {
        /// Path of the field, e.g. `completions[2].rank`.
        field: String,
    },
    /// A field that no record has.
    #[error("{field} is not a field of a ranking; {}", advice(field))]
    UnknownField {
        /// Path of the field.
        field: String,
    },
    /// A field has another type.
    #[error("{field} is {found}, expected {expected}")]
    WrongType {
        /// Path of the field.
        field: String,
        /// The JSON type found.
        found: &'static str,
        /// The type expected.
        expected: &'static str,
    },
    /// The id is empty.
    #[error("id is empty; give every record its own")]
    EmptyId,
    /// The prompt holds no visible character.
    #[error("prompt is empty")]
    EmptyPrompt,
    /// A completion has no text and no end, so nothing could be scored.
    #[error("completions[{completion}].text is empty and did not end; drop that completion")]
    EmptyCompletion {
        /// Its index.
        completion: usize,
    },
    /// A completion has an empty list of ids.
    #[error("completions[{completion}].ids is empty; leave ids out where only the text is known")]
    EmptyIds {
        /// Its index.
        completion: usize,
    },
    /// An entry of a completion's ids is no token id.
    #[error(
        "completions[{completion}].ids[{place}] is {id}; token ids are integers of 0 to 2^32 - 1"
    )]
    NoTokenId {
        /// Index of the completion.
        completion: usize,
        /// Index in its ids.
        place: usize,
        /// The id as written.
        id: String,
    },
    /// Ids mean something only with the tokenizer they are of.
    #[error(
        "completions[{completion}] has ids and the record no tokenizer; give its fingerprint as `tokenizer`, \
         or leave the ids out"
    )]
    IdsWithoutTokenizer {
        /// Index of the first completion with ids.
        completion: usize,
    },
    /// Fewer than two completions.
    #[error("{found} completion(s); a ranking compares at least 2")]
    OneCompletion {
        /// Number of completions.
        found: usize,
    },
    /// More completions than a group may have.
    #[error("{found} completions; at most {limit} are taken, make two records of them")]
    TooManyCompletions {
        /// Number of completions.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A rank is not a positive integer.
    #[error(
        "completions[{completion}].rank is {rank}; ranks are integers from 1 (best), equal ranks are ties"
    )]
    UnknownRank {
        /// Index of the completion.
        completion: usize,
        /// The rank as written.
        rank: String,
    },
    /// Two equal completions were given different places.
    #[error("completions {first} and {second} are equal but one is preferred; give them one rank")]
    EqualCompletionsRankedApart {
        /// Index of the one.
        first: usize,
        /// Index of the other.
        second: usize,
    },
    /// A stated pair names a completion that does not exist.
    #[error("pairs[{pair}] names completion {index} of {completions} (counted from 0)")]
    PairOutOfRange {
        /// Index of the pair.
        pair: usize,
        /// The index it names, as written.
        index: String,
        /// Completions of the record.
        completions: usize,
    },
    /// A stated pair occurs twice.
    #[error("pairs[{pair}] repeats [{winner}, {loser}]; state each preference once")]
    DuplicatePair {
        /// Index of the second one.
        pair: usize,
        /// The better completion.
        winner: u32,
        /// The worse completion.
        loser: u32,
    },
    /// A stated pair contradicts the ranks, its own reverse or itself.
    #[error(
        "pairs[{pair}] prefers completion {winner} (rank {winner_rank}) to {loser} (rank {loser_rank}); \
         a winner has the smaller rank"
    )]
    ContradictingPairs {
        /// Index of the pair.
        pair: usize,
        /// The completion it prefers.
        winner: u32,
        /// Rank of that completion.
        winner_rank: u32,
        /// The completion it ranks lower.
        loser: u32,
        /// Rank of that completion.
        loser_rank: u32,
    },
    /// The id was used before.
    #[error("id {id:?} was used on line {first_line}; ids are unique in a file")]
    DuplicateId {
        /// The id.
        id: String,
        /// Line of the kept record with this id.
        first_line: u64,
    },
}

fn advice(field: &str) -> &'static str {
    match field {
        "chosen" | "rejected" => {
            "pairs of dialogues are read by stategpt.data.read_chosen_rejected"
        }
        _ => "correct its name, or keep it inside meta",
    }
}

impl Problem {
    /// The stable name of this kind of problem.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidJson { .. } => "invalid_json",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::ByteOrderMark => "byte_order_mark",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::LineTooLong { .. } => "line_too_long",
            Self::MissingField { .. } => "missing_field",
            Self::UnknownField { .. } => "unknown_field",
            Self::WrongType { .. } => "wrong_type",
            Self::EmptyId => "empty_id",
            Self::EmptyPrompt => "empty_prompt",
            Self::EmptyCompletion { .. } => "empty_completion",
            Self::EmptyIds { .. } => "empty_ids",
            Self::NoTokenId { .. } => "no_token_id",
            Self::IdsWithoutTokenizer { .. } => "ids_without_tokenizer",
            Self::OneCompletion { .. } => "one_completion",
            Self::TooManyCompletions { .. } => "too_many_completions",
            Self::UnknownRank { .. } => "unknown_rank",
            Self::EqualCompletionsRankedApart { .. } => "equal_completions_ranked_apart",
            Self::PairOutOfRange { .. } => "pair_out_of_range",
            Self::DuplicatePair { .. } => "duplicate_pair",
            Self::ContradictingPairs { .. } => "contradicting_pairs",
            Self::DuplicateId { .. } => "duplicate_id",
        }
    }
}
