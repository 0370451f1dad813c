//! Lines of a stream: one in memory at a time, every byte accounted for.

use std::io::BufRead;

use memchr::memchr;

use crate::error::LinesError;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Byte at which it starts, from 0, of the unpacked stream.
    pub byte_offset: u64,
    /// Its bytes without the newline, at most the limit; without the byte-order mark at the start of the stream.
    pub content: &'a [u8],
    /// Bytes of the whole line, counted as in `content`; more than `content` has if the line is longer than the limit.
    pub size: u64,
    /// Whether a newline ends it. The last line of a stream may lack one.
    pub is_ended: bool,
}

impl Line<'_> {
    /// Is the line within the limit, so that `content` is all of it?
    pub fn is_whole(&self) -> bool {
        self.size == self.content.len() as u64
    }
}

/// Reads the lines of a stream in order. Text after the last newline is a line.
#[derive(Debug)]
pub struct LineReader<R> {
    source: R,
    max_line_bytes: usize,
    /// A line that is not in the source's buffer as a whole.
    content: Vec<u8>,
    /// Bytes of the source's buffer that the last line was, with its newline; they are consumed before the next.
    lent: usize,
    next_byte: u64,
    lines: u64,
}

impl<R: BufRead> LineReader<R> {
    /// Reads from where `source` is, with lines of at most `max_line_bytes` in memory (at least 3, a byte-order mark).
    pub fn new(source: R, max_line_bytes: u64) -> Self {
        let max_line_bytes = usize::try_from(max_line_bytes).unwrap_or(usize::MAX);
        Self {
            source,
            max_line_bytes: max_line_bytes.max(BYTE_ORDER_MARK.len()),
            content: Vec::new(),
            lent: 0,
            next_byte: 0,
            lines: 0,
        }
    }

    /// Number of lines read so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The limit on a line's bytes in memory.
    pub fn max_line_bytes(&self) -> u64 {
        self.max_line_bytes as u64
    }

    /// The stream; what is read from it directly belongs to no line.
    pub fn source_mut(&mut self) -> &mut R {
        self.consume_lent();
        &mut self.source
    }

    /// Changes the limit for the lines that follow.
    pub fn limit_lines(&mut self, max_line_bytes: u64) {
        let max_line_bytes = usize::try_from(max_line_bytes).unwrap_or(usize::MAX);
        self.max_line_bytes = max_line_bytes.max(BYTE_ORDER_MARK.len());
    }

    /// The next line, or `None` at the end. `should_continue` is called once per buffer; where it is false, reading ends.
    ///
    /// # Errors
    /// What the stream fails with; `Stopped`.
    pub fn next_line(
        &mut self,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Option<Line<'_>>, LinesError> {
        self.consume_lent();
        let byte_offset = self.next_byte;
        let lent = memchr(b'\n', fill(&mut self.source)?);
        if let Some(size) = lent.filter(|size| *size <= self.max_line_bytes) {
            self.lent = size + 1;
            self.lines += 1;
            self.next_byte += self.lent as u64;
            // The same bytes again: nothing was consumed.
            let content = &fill(&mut self.source)?[..size];
            return Ok(Some(line(
                self.lines,
                byte_offset,
                content,
                size as u64,
                true,
            )));
        }
        let Some((size, is_ended)) = self.read_line(should_continue)? else {
            return Ok(None);
        };
        self.lines += 1;
        Ok(Some(line(
            self.lines,
            byte_offset,
            &self.content,
            size,
            is_ended,
        )))
    }

    fn consume_lent(&mut self) {
        self.source.consume(std::mem::take(&mut self.lent));
    }

    /// Reads a line into `content`: its whole size, and whether a newline ends it.
    fn read_line(
        &mut self,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Option<(u64, bool)>, LinesError> {
        self.content.clear();
        let mut size = 0;
        loop {
            let available = match self.source.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if available.is_empty() {
                return Ok((size > 0).then_some((size, false)));
            }
            let newline = memchr(b'\n', available);
            let text = &available[..newline.unwrap_or(available.len())];
            let room = self.max_line_bytes - self.content.len();
            self.content
                .extend_from_slice(&text[..text.len().min(room)]);
            size += text.len() as u64;
            let taken = text.len() + usize::from(newline.is_some());
            self.source.consume(taken);
            self.next_byte += taken as u64;
            if newline.is_some() {
                return Ok(Some((size, true)));
            }
            if !should_continue() {
                return Err(LinesError::Stopped);
            }
        }
    }
}

/// A line whose bytes are `content`; a byte-order mark at the start of the stream is not part of it.
fn line(number: u64, byte_offset: u64, content: &[u8], size: u64, is_ended: bool) -> Line<'_> {
    let mark = match content.strip_prefix(BYTE_ORDER_MARK) {
        Some(_) if byte_offset == 0 => BYTE_ORDER_MARK.len(),
        _ => 0,
    };
    Line {
        number,
        byte_offset,
        content: &content[mark..],
        size: size - mark as u64,
        is_ended,
    }
}

/// The bytes in the buffer of `source`, read if there are none.
pub(crate) fn fill(source: &mut impl BufRead) -> Result<&[u8], LinesError> {
    // The loop of a retry cannot return what it borrows; a second call on a full buffer reads nothing.
    while let Err(error) = source.fill_buf() {
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
    Ok(source.fill_buf()?)
}
