//! Decoders of the formats that a text file may be packed in.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::input::Input;

/// The format that a file is packed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// None: the bytes are the text.
    Plain,
    /// gzip (RFC 1952), any number of members one after the other.
    Gzip,
    /// Zstandard (RFC 8878), any number of frames one after the other.
    Zstd,
}

impl Compression {
    /// The format that the name of a file says, in upper or lower case.
    pub fn of(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default();
        if extension.eq_ignore_ascii_case("gz") {
            Self::Gzip
        } else if extension.eq_ignore_ascii_case("zst") {
            Self::Zstd
        } else {
            Self::Plain
        }
    }

    /// The name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "text",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The largest window of a zstd frame, which is held in memory; the `zstd` program has the same limit.
const MAX_WINDOW_BYTES: u64 = 128 << 20;

type Source = BufReader<Input>;

/// A file as its unpacked bytes.
pub(crate) enum Decoder {
    Plain(Source),
    Gzip(Gzip),
    Zstd(Box<Zstd>),
}

impl Decoder {
    pub(crate) fn new(compression: Compression, source: Source) -> Self {
        match compression {
            Compression::Plain => Self::Plain(source),
            Compression::Gzip => Self::Gzip(Gzip::Start(source)),
            Compression::Zstd => Self::Zstd(Box::new(Zstd {
                source,
                frame: frame_decoder(),
                is_in_frame: false,
            })),
        }
    }

    /// The packed bytes; `None` after a gzip decoder has failed.
    fn source(&mut self) -> Option<&mut Source> {
        match self {
            Self::Plain(source) => Some(source),
            Self::Gzip(gzip) => gzip.source(),
            Self::Zstd(zstd) => Some(&mut zstd.source),
        }
    }

    /// Packed bytes that the decoder has consumed.
    pub(crate) fn consumed(&mut self) -> u64 {
        let source = self.source();
        source.map_or(0, |source| {
            source.get_ref().bytes() - source.buffer().len() as u64
        })
    }

    /// The disk's error, if that was why reading failed.
    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.source()
            .and_then(|source| source.get_mut().take_failure())
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(gzip) => gzip.read(buffer),
            Self::Zstd(zstd) => zstd.read(buffer),
        }
    }
}

/// A gzip file: between members, within one, or nothing while one becomes the other.
pub(crate) enum Gzip {
    Start(Source),
    Member(Box<GzDecoder<Source>>),
    Between(Source),
    Moved,
}

impl Gzip {
    fn source(&mut self) -> Option<&mut Source> {
        match self {
            Self::Start(source) | Self::Between(source) => Some(source),
            Self::Member(member) => Some(member.get_mut()),
            Self::Moved => None,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Self::Member(member) = self {
                let read = member.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
            }
            match std::mem::replace(self, Self::Moved) {
                Self::Member(member) => *self = Self::Between(member.into_inner()),
                Self::Start(mut source) => {
                    if source.fill_buf()?.is_empty() {
                        *self = Self::Start(source);
                        return Ok(0);
                    }
                    *self = Self::Member(Box::new(GzDecoder::new(source)));
                }
                Self::Between(mut source) => {
                    skip_zeros(&mut source)?;
                    *self = Self::Start(source);
                }
                Self::Moved => return Err(io::Error::other("an earlier read failed")),
            }
        }
    }
}

/// A gzip file may be padded with zeros, as tapes need.
fn skip_zeros(source: &mut Source) -> io::Result<()> {
    loop {
        let available = source.fill_buf()?;
        let zeros = available.iter().take_while(|byte| **byte == 0).count();
        let is_padding = zeros > 0 && zeros == available.len();
        source.consume(zeros);
        if !is_padding {
            return Ok(());
        }
    }
}

/// A zstd file.
pub(crate) struct Zstd {
    source: Source,
    frame: FrameDecoder,
    is_in_frame: bool,
}

fn frame_decoder() -> FrameDecoder {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW_BYTES);
    decoder
}

impl Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_in_frame {
                while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                    self.frame
                        .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(io::Error::other)?;
                }
                let read = self.frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                self.check_sum()?;
                self.is_in_frame = false;
            }
            if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            self.next_frame()?;
        }
    }

    /// Compares the checksum of a frame, if it has one.
    fn check_sum(&self) -> io::Result<()> {
        match (
            self.frame.get_checksum_from_data(),
            self.frame.get_calculated_checksum(),
        ) {
            (Some(expected), Some(found)) if expected != found => Err(io::Error::other(format!(
                "its checksum is {expected:08x}, its content gives {found:08x}"
            ))),
            _ => Ok(()),
        }
    }

    /// Begins the next frame, or skips one that holds no data.
    fn next_frame(&mut self) -> io::Result<()> {
        match self.frame.reset(&mut self.source) {
            Ok(()) => {
                self.is_in_frame = true;
                Ok(())
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let wanted = u64::from(length);
                let skipped = io::copy(&mut self.source.by_ref().take(wanted), &mut io::sink())?;
                if skipped == wanted {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                }
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
