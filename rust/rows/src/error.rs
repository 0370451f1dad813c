//! What a call can get wrong.

/// Arguments that do not belong together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A slice of another length than the others say.
    #[error("{name} has {found} numbers, the others take {expected}")]
    Numbers {
        /// Which slice.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
    },
    /// Rows without numbers, or not whole rows.
    #[error("{numbers} numbers are no rows of {width}")]
    Rows {
        /// Numbers given.
        numbers: usize,
        /// Numbers of a row.
        width: usize,
    },
    /// Rotation turns pairs.
    #[error("heads of width {0} are not rotated by pairs; it must be even and above 0")]
    Width(usize),
    /// An index beyond what it indexes.
    #[error("{name} holds {index}; there are {count}")]
    Index {
        /// Which list.
        name: &'static str,
        /// The entry.
        index: i64,
        /// How many there are.
        count: usize,
    },
}

/// Checks the length of a slice.
pub fn expect(name: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Numbers {
            name,
            found,
            expected,
        })
    }
}

/// Number of rows of `width` numbers each.
pub fn rows_of(numbers: usize, width: usize) -> Result<usize, Error> {
    if width == 0 || !numbers.is_multiple_of(width) {
        return Err(Error::Rows { numbers, width });
    }
    Ok(numbers / width)
}
