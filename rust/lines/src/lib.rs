//! Reads text files line by line: plain, gzip and zstd, in bounded memory whatever a file holds.
//!
//! # Key types
//! * [`TextFile`]: a regular file as a stream of bytes, unpacked if its name ends in `.gz` or `.zst`. A FIFO, device or
//!   folder is refused; a file that unpacks to far more than text does ends in an error.
//! * [`LineReader`]: the lines of any stream, each with its number, its byte offset and its size. Of a line longer than the
//!   limit only the start is kept; the rest is counted and skipped.
//! * [`ElementReader`]: the elements of a JSON array in the same form, without holding the array.
//! * [`BatchReader`]: the same lines or elements about a mebibyte at a time.
//! * [`string_fields`]: the strings of a JSON object under some keys; [`append_text`]: one string, faster.
//! * [`Texts`]: the texts of many records, end to end, as [`BatchReader::gather_texts`] finds them.
//!
//! # Usage
//! ```
//! # fn main() -> Result<(), stategpt_lines::LinesError> {
//! # let path = std::env::temp_dir().join(format!("stategpt-doc-lines-{}.jsonl", std::process::id()));
//! # std::fs::write(&path, "{\"a\": 1}\nsecond").unwrap();
//! use stategpt_lines::{Expansion, LineReader, TextFile};
//! let file = TextFile::open(&path, Expansion::default())?;
//! let mut reader = LineReader::new(file.buffered(), 1 << 20);
//! while let Some(line) = reader.next_line(&|| true)? {
//!     println!("line {} at byte {}: {} bytes", line.number, line.byte_offset, line.size);
//! }
//! assert_eq!(reader.lines(), 2);
//! # std::fs::remove_file(&path).ok();
//! # Ok(()) }
//! ```
//!
//! # Not for
//! JSON beyond that: the callers parse. Encodings other than UTF-8: a line is bytes here.

mod batch;
mod compress;
mod compression;
mod elements;
mod error;
mod expansion;
mod fields;
mod file;
mod input;
mod json_string;
mod reader;
mod text_field;
mod texts;

pub use batch::{BatchReader, LineBatch};
pub use compress::zstd_frame;
pub use compression::Compression;
pub use elements::ElementReader;
pub use error::LinesError;
pub use expansion::Expansion;
pub use fields::string_fields;
pub use file::TextFile;
pub use reader::{Line, LineReader};
pub use text_field::append_text;
pub use texts::{Gathered, OwnedLine, Texts};
