//! Every way in which a layout can be wrong.

/// What happened, the values, what to do.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A setting is out of range.
    #[error("{name} is {value}: {rule}")]
    BadSetting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        rule: String,
    },

    /// A token's entries contradict the rules.
    #[error(
        "layout: token {token} (segment_start={segment_start}, prefix_end={prefix_end}, branch_start={branch_start}, \
         position={position}, row_tokens={row_tokens}): {problem}"
    )]
    BadToken {
        /// The token.
        token: usize,
        /// Start of its segment.
        segment_start: i64,
        /// End of its prefix.
        prefix_end: i64,
        /// Start of its branch.
        branch_start: i64,
        /// Its position.
        position: i64,
        /// Tokens per row.
        row_tokens: i64,
        /// The rule that it breaks.
        problem: &'static str,
    },

    /// The vectors do not fit in memory.
    #[error(
        "the layout of {tokens} tokens does not fit in memory; use smaller batches or shorter rows"
    )]
    OutOfMemory {
        /// Tokens, padding included.
        tokens: usize,
    },
}

impl LayoutError {
    /// A setting that breaks `rule`.
    pub(crate) fn setting(
        name: &'static str,
        value: impl ToString,
        rule: impl Into<String>,
    ) -> Self {
        Self::BadSetting {
            name,
            value: value.to_string(),
            rule: rule.into(),
        }
    }
}
