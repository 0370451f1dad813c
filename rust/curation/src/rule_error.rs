//! What can be wrong with a call.

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// A rule of this name does not exist.
    #[error("there is no curation rule {name:?}; RULES lists them")]
    UnknownRule {
        /// As given.
        name: String,
    },
    /// A threshold that no value can be compared with.
    #[error("the threshold of {name} is {threshold}; it must be a number of 0 or more")]
    BadThreshold {
        /// The rule.
        name: String,
        /// As given.
        threshold: f64,
    },
    /// A text whose characters cannot be counted in 32 bits.
    #[error("a text has {bytes} bytes; the rules take at most 4,294,967,295. Split it")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// The automaton of the parts of C4 was not built.
    #[error("the automaton of the C4 rules could not be built; report this as a bug")]
    Automaton,
    /// A code of a language that the detector does not know.
    #[error(
        "{code:?} is no code of a language that can be detected; use one of ISO 639-1 or 639-3, as en or eng"
    )]
    UnknownLanguage {
        /// As given.
        code: String,
    },
}
