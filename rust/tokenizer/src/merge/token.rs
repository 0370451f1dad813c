//! What the search knows of a token.

/// "No token."
pub const NONE: u32 = u32::MAX;

/// What the search knows of a token.
///
/// Tokens have their own numbers here: bytes come first, then tokens in the order of their merges, so that the number tells which
/// of two merges comes first, and which of two tokens is older; then the tokens that merging does not give.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// Its two parts; for a byte, its own number twice.
    pub parts: [u32; 2],
    /// The longest token that it begins with and that merging gives; [`NONE`] for a byte.
    pub prefix: u32,
    /// Its number of bytes.
    pub len: u32,
    /// What can merge across its boundaries.
    pub boundaries: BoundaryFilter,
}

impl Token {
    /// A token of which only the bytes are known.
    pub fn of_bytes(text: &[u8]) -> Self {
        Self {
            parts: [NONE; 2],
            prefix: NONE,
            len: text.len() as u32,
            boundaries: BoundaryFilter::UNKNOWN,
        }
    }
}

/// A quick test of two neighboring tokens: in most pairs nothing can merge across the boundary. See [`super::boundary_filter`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundaryFilter {
    /// Partners of the tokens at its end, as bits that several tokens may share.
    pub partners: u64,
    /// The bits of the tokens at its beginning.
    pub beginnings: u64,
}

impl BoundaryFilter {
    /// The filter of a token about which nothing is known.
    pub const UNKNOWN: Self = Self {
        partners: u64::MAX,
        beginnings: u64::MAX,
    };

    /// Whether anything is known.
    #[inline]
    pub fn is_known(self) -> bool {
        self != Self::UNKNOWN
    }

    /// Whether nothing can merge across the boundary to the token on the right. `false` means that something may.
    #[inline]
    pub fn excludes_merge_with(self, right: Self) -> bool {
        self.partners & right.beginnings == 0
    }
}
