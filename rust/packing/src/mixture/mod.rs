//! Sources drawn in proportion to their tokens.

mod schedule;
mod weights;

use std::sync::Arc;

use serde_json::{Map, json};

pub use schedule::{Draw, Schedule};
pub use weights::{SourceSize, WHOLE, row_shares};

use crate::error::PackingError;
use crate::packed::Packed;
use crate::permutation::Permutation;
use crate::random::{bits, name_counter};
use crate::rows::Rows;

/// Counter of the draws that order each epoch of a source.
const EPOCH_ORDER: u64 = 4;
/// Version of the order of rows; see `packed`.
const ORDER_VERSION: u32 = 1;

/// One source of a mixture.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name. Together with the seed it decides the order of its rows.
    pub name: String,
    /// Its rows.
    pub packed: Arc<Packed>,
    /// Its share of all tokens, in any unit.
    pub proportion: f64,
}

/// Where a row of a mixture comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Number of the source, in order of names.
    pub source: usize,
    /// Epoch of that source, from 0.
    pub epoch: u64,
    /// Row of the source's plan.
    pub plan_row: u64,
}

/// What the first rows of a mixture draw from one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The source's share of all tokens, as requested.
    pub planned_share: f64,
    /// Rows drawn.
    pub rows: u64,
    /// Tokens in these rows, padding not counted.
    pub tokens: u64,
    /// Times the source was gone through.
    pub epochs: f64,
}

/// An endless order of rows (or as long as `max_epochs` allows) from several sources.
///
/// Each row of a source comes once in every epoch of it, in an order of that epoch's own.
#[derive(Debug)]
pub struct Mixture {
    sources: Vec<Source>,
    schedule: Schedule,
    seed: u64,
    max_epochs: Option<f64>,
    limits: Vec<u64>,
    rows: Option<u64>,
    fingerprint: String,
}

impl Mixture {
    /// Mixes `sources`; the order in which they are given does not matter.
    pub fn new(
        mut sources: Vec<Source>,
        seed: u64,
        max_epochs: Option<f64>,
    ) -> Result<Self, PackingError> {
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        check(&sources)?;
        let sizes: Vec<SourceSize> = sources.iter().map(Source::size).collect();
        let shares = row_shares(&sizes)?;
        let schedule = Schedule::new(&shares);
        let limits = limits(&sources, max_epochs)?;
        let rows = max_epochs.and_then(|_| schedule.first_beyond(&limits));
        if let Some(max_epochs) = max_epochs.filter(|_| rows == Some(0)) {
            return Err(PackingError::setting(
                "max_epochs",
                format!("{max_epochs:?}"),
                "it allows not even the first row; raise it",
            ));
        }
        let parts: Map<String, serde_json::Value> = sources
            .iter()
            .zip(&shares)
            .map(|(source, share)| {
                (
                    source.name.clone(),
                    json!({"rows": source.packed.fingerprint(), "row_share": share}),
                )
            })
            .collect();
        // max_epochs says where the order ends, not what it is, so it may be raised for a resumed run.
        let fingerprint = stategpt_storage::fingerprint(&json!({
            "rows": "mixture", "order_version": ORDER_VERSION, "sources": parts, "seed": seed,
        }));
        Ok(Self {
            sources,
            schedule,
            seed,
            max_epochs,
            limits,
            rows,
            fingerprint,
        })
    }

    /// The sources, in order of names.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Rows after which every source is within one row of its share; between, within two.
    pub fn block_rows(&self) -> u64 {
        self.schedule.block_rows()
    }

    /// Where row `row` comes from. O(1) amortized.
    pub fn origin(&self, row: u64) -> Result<Origin, PackingError> {
        let Draw { source, index } = self.schedule.draw(row);
        let Source { name, packed, .. } = &self.sources[source];
        let epoch = index / packed.num_rows();
        if let Some(max_epochs) = self.max_epochs.filter(|_| index >= self.limits[source]) {
            return Err(PackingError::Exhausted {
                row,
                source_name: name.clone(),
                epoch: epoch + 1,
                max_epochs,
            });
        }
        let plan_row = self.order(source, epoch).get(index % packed.num_rows());
        Ok(Origin {
            source,
            epoch,
            plan_row: plan_row.unwrap_or(0),
        })
    }

    /// Source of row `row`, and the numbers of the documents of which it holds a piece, in order.
    pub fn documents_of(&self, row: u64) -> Result<(usize, Vec<u64>), PackingError> {
        let origin = self.origin(row)?;
        let documents = self.sources[origin.source]
            .packed
            .plan_documents(origin.plan_row)?;
        Ok((origin.source, documents))
    }

    fn order(&self, source: usize, epoch: u64) -> Permutation {
        let Source { name, packed, .. } = &self.sources[source];
        Permutation::new(
            packed.num_rows(),
            bits(self.seed, &[EPOCH_ORDER, name_counter(name), epoch]),
        )
    }

    /// What the first `rows` rows draw from each source. O(rows of the unfinished epochs).
    pub fn report(&self, rows: u64) -> Vec<Drawn> {
        let proportions = self.sources.iter().map(|source| source.proportion);
        let largest = proportions.clone().fold(0.0, f64::max);
        let planned: f64 = proportions.map(|proportion| proportion / largest).sum();
        let counts = self.schedule.counts(rows);
        let drawn = |(number, rows): (usize, u64)| {
            let Source {
                packed, proportion, ..
            } = &self.sources[number];
            let (epochs, rest) = (rows / packed.num_rows(), rows % packed.num_rows());
            let order = self.order(number, epochs);
            let partial = (0..rest)
                .filter_map(|row| order.get(row))
                .map(|row| u64::from(packed.used(row)));
            Drawn {
                planned_share: proportion / largest / planned,
                rows,
                tokens: epochs * packed.tokens() + partial.sum::<u64>(),
                epochs: rows as f64 / packed.num_rows() as f64,
            }
        };
        counts.into_iter().enumerate().map(drawn).collect()
    }
}

impl Source {
    fn size(&self) -> SourceSize {
        SourceSize {
            name: self.name.clone(),
            proportion: self.proportion,
            rows: self.packed.num_rows(),
            tokens: self.packed.tokens(),
            rejected: self.packed.rejected().documents,
            row_tokens: self.packed.row_tokens(),
        }
    }
}

impl Rows for Mixture {
    fn row_tokens(&self) -> u32 {
        self.sources[0].packed.row_tokens()
    }

    fn rows(&self) -> Option<u64> {
        self.rows
    }

    fn padding(&self) -> u32 {
        self.sources[0].packed.padding()
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn place(&self, row: u64) -> Result<(&Packed, u64), PackingError> {
        let Origin {
            source, plan_row, ..
        } = self.origin(row)?;
        Ok((&self.sources[source].packed, plan_row))
    }
}

fn check(sources: &[Source]) -> Result<(), PackingError> {
    let Some(first) = sources.first() else {
        return Err(PackingError::setting(
            "sources",
            "empty",
            "a mixture needs at least one source",
        ));
    };
    for pair in sources.windows(2) {
        if pair[0].name == pair[1].name {
            return Err(PackingError::setting(
                "sources",
                &pair[0].name,
                "two sources have this name; rename one",
            ));
        }
    }
    for source in sources {
        let found = source.packed.row_tokens();
        if found != first.packed.row_tokens() {
            let rule = format!(
                "source {:?} has rows of that length, {:?} of {}; pack them alike",
                source.name,
                first.name,
                first.packed.row_tokens()
            );
            return Err(PackingError::setting("row_tokens", found, rule));
        }
        source
            .packed
            .dataset()
            .expect_tokenizer(first.packed.dataset().tokenizer_fingerprint())?;
    }
    Ok(())
}

/// Rows that may be drawn from each source.
fn limits(sources: &[Source], max_epochs: Option<f64>) -> Result<Vec<u64>, PackingError> {
    let Some(max_epochs) = max_epochs else {
        return Ok(vec![u64::MAX; sources.len()]);
    };
    if !max_epochs.is_finite() || max_epochs <= 0.0 {
        return Err(PackingError::setting(
            "max_epochs",
            format!("{max_epochs:?}"),
            "it must be a positive number, or none",
        ));
    }
    Ok(sources
        .iter()
        .map(|source| (source.packed.num_rows() as f64 * max_epochs) as u64)
        .collect())
}
