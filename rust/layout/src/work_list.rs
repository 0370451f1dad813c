//! A work list as a kernel takes it: the fields of all tiles in one vector.

use crate::error::LayoutError;
use crate::key_tiles::{KeyTile, key_tiles};
use crate::query_tiles::{QueryTile, query_tiles};
use crate::runs::Runs;
use crate::tiling::Tiling;

/// The side of the score matrix that is cut into tiles; the other side is walked in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileSide {
    /// Tiles of queries, steps of keys.
    Queries,
    /// Tiles of keys, steps of queries.
    Keys,
}

impl TileSide {
    /// The side with the given name, `queries` or `keys`.
    pub fn named(name: &str) -> Result<Self, LayoutError> {
        match name {
            "queries" => Ok(Self::Queries),
            "keys" => Ok(Self::Keys),
            _ => {
                let rule = "it is \"queries\" or \"keys\"";
                Err(LayoutError::setting("tiles", format!("{name:?}"), rule))
            }
        }
    }

    /// Number of fields per tile.
    pub fn fields(self) -> usize {
        match self {
            Self::Queries => QueryTile::FIELDS,
            Self::Keys => KeyTile::FIELDS,
        }
    }

    /// The fields of all tiles, tile after tile.
    pub fn work_list(self, runs: &Runs, tiling: &Tiling) -> Vec<i32> {
        match self {
            Self::Queries => flat(&query_tiles(runs, tiling), QueryTile::fields),
            Self::Keys => flat(&key_tiles(runs, tiling), KeyTile::fields),
        }
    }
}

fn flat<T, const N: usize>(tiles: &[T], fields: impl Fn(&T) -> [i32; N]) -> Vec<i32> {
    tiles.iter().flat_map(fields).collect()
}
