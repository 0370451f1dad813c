//! What happens to text that spells an added token.

/// What happens to text that spells an added token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// It is ordinary text: no added token comes out.
    Text,
    /// It becomes the added token unless that one is flagged special: flagged ones are ordinary text, and no merge makes one.
    Unflagged,
    /// It becomes the added token.
    Allow,
}

impl Special {
    /// Whether text becomes the added token that it spells; `flagged`: the token is flagged special.
    pub fn takes(self, flagged: bool) -> bool {
        match self {
            Self::Text => false,
            Self::Unflagged => !flagged,
            Self::Allow => true,
        }
    }
}
