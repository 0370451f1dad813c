//! What a packing and a mixture have in common: rows by number.

use crate::batch::{Batch, Scratch};
use crate::error::PackingError;
use crate::packed::Packed;

/// An order of rows: any row by its number, the same for every reader.
pub trait Rows: Send + Sync {
    /// T, tokens of a row.
    fn row_tokens(&self) -> u32;

    /// Number of rows; `None` if they never end.
    fn rows(&self) -> Option<u64>;

    /// Id that fills what is left of a row.
    fn padding(&self) -> u32;

    /// Identity of the order: data, settings and seed. Equal fingerprints give equal rows.
    fn fingerprint(&self) -> &str;

    /// What holds row `row` of the order: a packing, and the row of its plan.
    fn place(&self, row: u64) -> Result<(&Packed, u64), PackingError>;

    /// Writes row `row` of the order as row `slot` of `batch`.
    fn write(
        &self,
        row: u64,
        batch: &mut Batch,
        slot: usize,
        scratch: &mut Scratch,
    ) -> Result<(), PackingError> {
        let (packed, plan_row) = self.place(row)?;
        packed.write_plan_row(plan_row, batch, slot, scratch)
    }

    /// Rows `first..first + rows` as a batch of `batch_rows`, filled up with rows of padding.
    fn batch(&self, first: u64, rows: u64, batch_rows: u64) -> Result<Batch, PackingError> {
        if rows > batch_rows {
            return Err(PackingError::setting(
                "batch_rows",
                batch_rows,
                format!("{rows} rows do not fit"),
            ));
        }
        let mut batch = Batch::new(batch_rows, self.row_tokens(), self.padding())?;
        let mut scratch = Scratch::default();
        for slot in 0..rows {
            self.write(first + slot, &mut batch, slot as usize, &mut scratch)?;
        }
        Ok(batch)
    }
}

impl Rows for Packed {
    fn row_tokens(&self) -> u32 {
        self.config().row_tokens
    }

    fn rows(&self) -> Option<u64> {
        Some(self.num_rows())
    }

    fn padding(&self) -> u32 {
        self.dataset().description().padding
    }

    fn fingerprint(&self) -> &str {
        self.order_fingerprint()
    }

    fn place(&self, row: u64) -> Result<(&Packed, u64), PackingError> {
        Ok((self, self.plan_row(row)?))
    }
}
