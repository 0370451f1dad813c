//! What a call can get wrong.

/// What a call can get wrong; each says the values.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// `first` does not divide tokens among rows.
    #[error("first[{row}] is {value}, after {before}; it starts at 0 and never decreases")]
    First {
        /// Index of the wrong entry.
        row: usize,
        /// Its value.
        value: i64,
        /// The entry before it, or 0.
        before: i64,
    },
    /// The numbers of entries do not fit.
    #[error(
        "first has {first} entries, seen {seen} and tables {tables}; R rows have R + 1, R and R"
    )]
    Rows {
        /// Entries of `first`.
        first: usize,
        /// Entries of `seen`.
        seen: usize,
        /// Tables.
        tables: usize,
    },
    /// A number of tokens before the row's is negative, or the row is too long.
    #[error("seen[{row}] is {value}, and the row has {tokens} tokens; positions are 0 to 2^31 - 1")]
    Seen {
        /// The row.
        row: usize,
        /// Its value.
        value: i64,
        /// Tokens of the row.
        tokens: usize,
    },
    /// A table has fewer pages than its row's tokens need.
    #[error(
        "tables[{row}] has {pages} pages; {seen} tokens and {tokens} new ones need {needed} of 16"
    )]
    Table {
        /// The row.
        row: usize,
        /// Pages of its table.
        pages: usize,
        /// Tokens before.
        seen: usize,
        /// New tokens.
        tokens: usize,
        /// Pages that they need.
        needed: usize,
    },
    /// A page's number is negative.
    #[error("tables[{row}][{column}] is {value}; pages are numbered from 0")]
    Page {
        /// The row.
        row: usize,
        /// Place in its table.
        column: usize,
        /// The number.
        value: i64,
    },
    /// Two rows would write one slot.
    #[error(
        "rows {row} and {other} both write slot {slot} of page {page}; copy the page for one of them"
    )]
    Written {
        /// One row.
        row: usize,
        /// The other.
        other: usize,
        /// The page.
        page: usize,
        /// The slot.
        slot: usize,
    },
    /// A table names a page that the pool does not have.
    #[error("a table names page {page}; there are {pages}")]
    Pool {
        /// The page.
        page: usize,
        /// Pages that there are.
        pages: usize,
    },
    /// Numbers of an argument that its shape does not explain.
    #[error("{name} has {found} numbers; its shape takes {expected}")]
    Numbers {
        /// The argument.
        name: &'static str,
        /// Numbers given.
        found: usize,
        /// Numbers expected.
        expected: usize,
    },
    /// Heads that key-value heads do not divide, or an empty axis.
    #[error(
        "{heads} query heads, {groups} key-value heads of width {width}; none is 0, and key-value heads divide the others"
    )]
    Heads {
        /// Query heads.
        heads: usize,
        /// Key-value heads.
        groups: usize,
        /// Width of a head.
        width: usize,
    },
}
