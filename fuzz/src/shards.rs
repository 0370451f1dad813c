//! Any bytes, read as the description and the offsets of a data set: below the fingerprint, which anyone who writes a manifest
//! can compute.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use stategpt_packing::{
    Dataset, Description, HEADER_BYTES, KIND, PackConfig, Packed, Rows, Strategy, strategy,
};
use stategpt_storage::{Label, MANIFEST_NAME, Manifest};

fn packing(name: &str) -> Strategy {
    strategy(name).expect("a known strategy")
}

/// Larger files are not created: opening fails because they are missing.
const MAX_BYTES: u64 = 4096;

/// The first line as JSON, merged into a small description; the rest as the content of `offsets.npy`.
///
/// # Panics
/// If an accepted description contradicts itself, or an opened data set gives more or less than it says.
pub fn shards(data: &[u8]) {
    let end = data
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(data.len());
    let Ok(Value::Object(changes)) = serde_json::from_slice(&data[..end]) else {
        return;
    };
    let manifest = signed(changes);
    let Ok(description) = Description::of(&manifest) else {
        return;
    };
    let histogram = &description.length_histogram;
    assert_eq!(histogram.documents(), description.documents);
    assert_eq!(histogram.tokens(), description.tokens);
    let Ok(folder) = tempfile::tempdir() else {
        return;
    };
    let offsets = data.get(end + 1..).unwrap_or_default();
    if write(folder.path(), &manifest, &description, offsets).is_some()
        && let Ok(dataset) = Dataset::open(folder.path())
    {
        hold(dataset);
    }
}

fn signed(changes: Map<String, Value>) -> Manifest {
    let mut extra = Map::new();
    for (name, value) in [
        ("vocab_size", 9.into()),
        ("end_of_text", 0.into()),
        ("padding", 1.into()),
        ("documents", 2.into()),
        ("tokens", 5.into()),
        ("document_ids", false.into()),
        ("length_histogram", serde_json::json!([[2, 1], [3, 1]])),
        (
            "shards",
            serde_json::json!([{"documents": 2, "tokens": 5, "masked": false}]),
        ),
        ("source", "".into()),
        ("license", "".into()),
    ] {
        extra.insert(name.to_owned(), value);
    }
    extra.extend(changes);
    let label = Label {
        kind: KIND.to_owned(),
        extra,
        ..Label::default()
    };
    Manifest::new(label, BTreeMap::new())
}

/// Files of the sizes in the description, as far as they are small.
fn write(
    root: &Path,
    manifest: &Manifest,
    description: &Description,
    offsets: &[u8],
) -> Option<()> {
    std::fs::write(root.join(MANIFEST_NAME), manifest.to_json()).ok()?;
    for (number, shard) in description.shards.iter().enumerate().take(4) {
        let folder = root.join(format!("{number:05}"));
        std::fs::create_dir(&folder).ok()?;
        let wide = if description.vocab_size > 1 << 16 {
            4
        } else {
            2
        };
        let stream = shard.tokens + shard.documents;
        for (name, code, width, count) in [
            (
                "tokens.npy",
                if wide == 4 { "<u4" } else { "<u2" },
                wide,
                shard.tokens,
            ),
            ("offsets.npy", "<u8", 8, shard.documents + 1),
            ("mask.npy", "|u1", 1, stream),
            ("doc_id.npy", "<u8", 8, shard.documents),
        ] {
            if count * width > MAX_BYTES {
                return None;
            }
            let text =
                format!("{{'descr': '{code}', 'fortran_order': False, 'shape': ({count},), }}");
            let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
            bytes.extend(text.as_bytes());
            bytes.resize(HEADER_BYTES - 1, b' ');
            bytes.push(b'\n');
            bytes.resize(HEADER_BYTES + (count * width) as usize, 0);
            if name == "offsets.npy" {
                let content = bytes[HEADER_BYTES..].iter_mut().zip(offsets);
                content.for_each(|(byte, given)| *byte = *given);
            }
            std::fs::write(folder.join(name), bytes).ok()?;
        }
    }
    Some(())
}

fn hold(dataset: Dataset) {
    let mut lengths = 0;
    let whole = dataset.lengths(|length| lengths += length).is_ok();
    if whole {
        assert_eq!(
            lengths,
            dataset.description().tokens,
            "offsets end with the tokens"
        );
    }
    for number in 0..dataset.description().documents {
        if let Ok(span) = dataset.span(number) {
            let mut ids = vec![0; span.tokens as usize];
            let _ = dataset.read_tokens(&span, 0, &mut ids, &mut Vec::new());
        }
    }
    let dataset = Arc::new(dataset);
    for (strategy, reject_too_long) in [
        (packing("concat"), false),
        (packing("best_fit"), false),
        (packing("best_fit"), true),
    ] {
        let config = PackConfig {
            row_tokens: 4,
            strategy,
            isolate_documents: true,
            reject_too_long,
            seed: 7,
        };
        let Ok(packed) = Packed::new(Arc::clone(&dataset), config) else {
            continue;
        };
        for row in 0..packed.num_rows().min(64) {
            let batch = packed.batch(row, 1, 1);
            assert!(
                batch.is_ok()
                    || !whole
                    || batch.is_err_and(|error| error.to_string().contains("token id"))
            );
        }
    }
}
