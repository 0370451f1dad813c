//! Proportions in tokens turned into exact whole-number shares of rows.

use crate::error::PackingError;

/// Shares are whole numbers of this unit: 2^-62 of all rows. At 10^13 rows a share is off by less than 10^-5 rows.
pub const WHOLE: u64 = 1 << 62;
/// Smallest share of the rows a source may have. Below it a block of the schedule would hold millions of rows.
const MIN_SHARE: f64 = 1.0 / (1 << 20) as f64;

/// What a mixture needs to know about a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSize {
    /// Name in the mixture.
    pub name: String,
    /// Wanted share of all tokens, in any unit: shares are divided by their sum.
    pub proportion: f64,
    /// Rows of one epoch.
    pub rows: u64,
    /// Tokens of one epoch, padding not counted.
    pub tokens: u64,
    /// Documents left out as longer than a row.
    pub rejected: u64,
    /// Tokens of one row, padding included.
    pub row_tokens: u32,
}

/// Share of the rows for each source, in units of `1 / WHOLE`, summing to it.
///
/// A row of source i holds tokens_i / rows_i tokens on average, so a share p_i of the tokens is a share of the rows in
/// proportion to p_i rows_i / tokens_i.
pub fn row_shares(sources: &[SourceSize]) -> Result<Vec<u64>, PackingError> {
    for source in sources {
        if !source.proportion.is_finite() || source.proportion <= 0.0 {
            let rule = format!(
                "the proportion of source {:?} must be a positive number; leave out what is not wanted",
                source.name
            );
            return Err(refused(source, rule));
        }
        if source.rows == 0 || source.tokens == 0 {
            return Err(PackingError::NoRows {
                source_name: source.name.clone(),
                row_tokens: source.row_tokens,
                rejected: source.rejected,
            });
        }
    }
    // Divided by the largest first: the smallest numbers there are do not become 0, nor the largest infinite.
    let largest = sources
        .iter()
        .map(|source| source.proportion)
        .fold(0.0, f64::max);
    let weights: Vec<f64> = sources
        .iter()
        .map(|source| source.proportion / largest * (source.rows as f64 / source.tokens as f64))
        .collect();
    let sum: f64 = weights.iter().sum();
    let too_small = |weight: f64| (weight / sum).is_nan() || weight / sum < MIN_SHARE;
    if let Some((source, _)) = sources
        .iter()
        .zip(&weights)
        .find(|(_, weight)| too_small(**weight))
    {
        let rule = format!(
            "source {:?} would get fewer than one row in 2^20; raise its proportion or leave it out",
            source.name
        );
        return Err(refused(source, rule));
    }
    let mut shares: Vec<u64> = weights
        .iter()
        .map(|weight| (weight / sum * WHOLE as f64) as u64)
        .collect();
    // Floating point leaves the sum a few units off; the largest share absorbs that without a visible change.
    let rest = i128::from(WHOLE) - shares.iter().map(|share| i128::from(*share)).sum::<i128>();
    if let Some(largest) = shares.iter_mut().max() {
        *largest = u64::try_from(i128::from(*largest) + rest).unwrap_or(*largest);
    }
    Ok(shares)
}

fn refused(source: &SourceSize, rule: String) -> PackingError {
    // `{:?}` is short for any number: 1e-300, where `{}` prints 300 zeros.
    PackingError::setting("proportion", format!("{:?}", source.proportion), rule)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn source(name: &str, proportion: f64, rows: u64, tokens: u64) -> SourceSize {
        SourceSize {
            name: name.to_string(),
            proportion,
            rows,
            tokens,
            rejected: 0,
            row_tokens: 10,
        }
    }

    #[test]
    fn shares_sum_to_the_whole_and_follow_tokens_not_rows() {
        // Rows of "b" are half empty, so it needs twice the rows for the same tokens.
        let shares =
            row_shares(&[source("a", 1.0, 100, 1000), source("b", 1.0, 100, 500)]).unwrap();
        assert_eq!(shares.iter().sum::<u64>(), WHOLE);
        assert!((shares[1] as f64 / shares[0] as f64 - 2.0).abs() < 1e-12);
    }

    #[test]
    fn proportions_have_any_unit() {
        let percent = row_shares(&[source("a", 30.0, 7, 70), source("b", 70.0, 9, 81)]).unwrap();
        let fraction = row_shares(&[source("a", 0.3, 7, 70), source("b", 0.7, 9, 81)]).unwrap();
        assert!(
            percent
                .iter()
                .zip(&fraction)
                .all(|(a, b)| a.abs_diff(*b) < 1 << 12)
        );
    }

    #[test]
    fn refuses_what_cannot_be_drawn() {
        for proportion in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9, 1e-300, 5e-324] {
            let error =
                row_shares(&[source("a", 1.0, 1, 1), source("b", proportion, 1, 1)]).unwrap_err();
            assert!(error.to_string().contains("\"b\""), "{error}");
            assert!(error.to_string().len() < 200, "{error}");
        }
        for proportion in [5e-324, 1e-323, f64::MIN_POSITIVE, 1.0, f64::MAX] {
            let two = [
                source("a", proportion, 3, 40),
                source("b", proportion, 3, 40),
            ];
            assert_eq!(row_shares(&two).unwrap(), [WHOLE / 2, WHOLE / 2]);
        }
        let error = row_shares(&[source("empty", 1.0, 0, 0)]).unwrap_err();
        assert!(
            error.to_string().contains("\"empty\" has no rows"),
            "{error}"
        );
    }
}
