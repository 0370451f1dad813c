//! Files: what is refused, and what compressed ones give, whole, joined, truncated, damaged or a bomb.

#![allow(clippy::unwrap_used, clippy::panic)] // tests fail by panicking

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use stategpt_lines::{Compression, Expansion, LineReader, LinesError, TextFile};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}

type Pack = fn(&[u8]) -> Vec<u8>;

const FORMATS: [(&str, Pack); 2] = [("gz", gzip), ("zst", zstd)];

fn read(path: &Path, expansion: Expansion) -> Result<Vec<u8>, LinesError> {
    let mut file = TextFile::open(path, expansion)?;
    let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match file.read_some(&mut buffer)? {
            0 => return Ok(text),
            read => text.extend_from_slice(&buffer[..read]),
        }
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, extension: &str, content: &[u8]) -> PathBuf {
        let path = self.0.path().join(format!("file.jsonl.{extension}"));
        std::fs::write(&path, content).unwrap();
        path
    }
}

#[test]
fn the_name_says_the_format_in_any_case() {
    let of = |name: &str| Compression::of(Path::new(name));
    assert_eq!(of("a.jsonl.GZ"), Compression::Gzip);
    assert_eq!(of("a.Zst"), Compression::Zstd);
    assert_eq!(of("a.gz.txt"), Compression::Plain);
    assert_eq!(of("gz"), Compression::Plain);
}

#[test]
fn members_and_frames_one_after_the_other_are_one_text() {
    let folder = Folder::new();
    for (extension, pack) in FORMATS {
        let joined = [pack(b"one\ntw"), pack(b""), pack(b"o\n")].concat();
        let path = folder.with(extension, &joined);
        assert_eq!(read(&path, Expansion::default()).unwrap(), b"one\ntwo\n");
    }
    let padded = [gzip(b"one\n"), vec![0; 1000]].concat();
    let path = folder.with("gz", &padded);
    assert_eq!(read(&path, Expansion::default()).unwrap(), b"one\n");
    // A skippable frame holds no text.
    let skipped = [b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), zstd(b"one\n")].concat();
    let path = folder.with("zst", &skipped);
    assert_eq!(read(&path, Expansion::default()).unwrap(), b"one\n");
}

#[test]
fn an_empty_file_holds_no_lines() {
    let folder = Folder::new();
    for extension in ["gz", "zst", "txt"] {
        let path = folder.with(extension, b"");
        assert_eq!(read(&path, Expansion::default()).unwrap(), b"");
    }
}

#[test]
fn every_truncation_and_every_changed_byte_of_the_data_is_found() {
    let text: Vec<u8> = (0..60_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_string().into_bytes())
        .collect();
    let folder = Folder::new();
    for (extension, pack) in FORMATS {
        let whole = pack(&text);
        for cut in 1..whole.len() {
            let path = folder.with(extension, &whole[..cut]);
            let error = read(&path, Expansion::default()).unwrap_err();
            assert!(
                matches!(error, LinesError::Damaged { .. }),
                "{cut}: {error}"
            );
        }
        // Some bytes of a gzip header say nothing about the data.
        let header = if extension == "gz" { 10 } else { 0 };
        for at in header..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let path = folder.with(extension, &damaged);
            match read(&path, Expansion::default()) {
                Err(LinesError::Damaged { .. }) => {}
                Ok(found) => assert_eq!(found, text, "{extension} {at}"),
                Err(other) => panic!("{extension} {at}: {other}"),
            }
        }
        let path = folder.with(extension, &[whole, b"garbage".to_vec()].concat());
        let error = read(&path, Expansion::default()).unwrap_err().to_string();
        assert!(error.contains("Fetch or write it again"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_text_or_a_typed_error(
        bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), is_frame in any::<bool>()
    ) {
        let folder = Folder::new();
        let expansion = Expansion { free_bytes: 1 << 20, max_ratio: 128 };
        for (extension, pack) in FORMATS {
            // Random bytes within a whole file get further than random bytes alone.
            let mut content = if is_frame { pack(&[bytes.clone(), bytes.repeat(3)].concat()) } else { bytes.clone() };
            let start = at.index(content.len().max(1));
            content.iter_mut().skip(start).zip(&bytes).take(4).for_each(|(byte, other)| *byte = *other);
            match read(&folder.with(extension, &content), expansion) {
                Ok(_) | Err(LinesError::Damaged { .. } | LinesError::Expanded { .. }) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}

#[test]
fn a_bomb_ends_in_an_error_after_the_limit() {
    let zeros = vec![0; 32 << 20];
    let folder = Folder::new();
    let expansion = Expansion {
        free_bytes: 1 << 20,
        max_ratio: 128,
    };
    for (extension, pack) in FORMATS {
        let path = folder.with(extension, &pack(&zeros));
        let file = TextFile::open(&path, expansion).unwrap();
        let mut reader = LineReader::new(file.buffered(), 1 << 10);
        let error = reader.next_line(&|| true).unwrap_err();
        let LinesError::Expanded {
            unpacked, packed, ..
        } = error
        else {
            panic!("{extension}: {error}");
        };
        assert!(
            unpacked < 8 << 20 && packed < 64 << 10,
            "{unpacked} {packed}"
        );
        assert!(error.to_string().contains("text does not shrink that far"));
    }
    let path = folder.with("gz", &gzip(&zeros[..1 << 20]));
    assert_eq!(read(&path, expansion).unwrap().len(), 1 << 20);
}

#[test]
fn what_is_no_regular_file_is_refused_by_its_kind() {
    let folder = Folder::new();
    let missing = folder.0.path().join("missing");
    for (path, wanted) in [
        (
            Path::new("/dev/zero"),
            "is a character device, not a regular file",
        ),
        (folder.0.path(), "is a folder, not a regular file"),
        (&missing, "does not exist. Check the path."),
    ] {
        let error = TextFile::open(path, Expansion::default()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
