//! Elements of a JSON array, one in memory at a time: the boundaries only, the callers parse.

use std::io::BufRead;

use memchr::memchr2;

use crate::error::LinesError;
use crate::reader::{Line, fill};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the reader expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The `[` of the array.
    Start,
    /// An element, or the `]` of an array without any.
    First,
    /// An element.
    Element,
    /// The stream ended after a whole element.
    CutOff,
    /// The `]` was read.
    Ended,
    /// The stream ended, and that was reported.
    Done,
}

/// Reads the elements of an array that is the whole of a stream. Each is a [`Line`]: `number` is the line on which it
/// starts and `byte_offset` its first byte.
///
/// An element ends at the comma or bracket that closes it, whatever is in between: one that is not JSON is found by the
/// parser, and the elements after it are read. A stream that ends before its array gives a last element with
/// `is_ended = false`: the one in which it ends, or an empty one.
#[derive(Debug)]
pub struct ElementReader<R> {
    source: R,
    max_bytes: usize,
    content: Vec<u8>,
    /// Bytes of the element, and of those the bytes up to the last that is no white space.
    size: u64,
    trimmed: u64,
    byte: u64,
    line: u64,
    state: State,
}

/// Where the scan of one element is.
#[derive(Default)]
struct Scan {
    depth: u64,
    is_in_string: bool,
    is_escaped: bool,
}

impl<R: BufRead> ElementReader<R> {
    /// Reads from where `source` is, with elements of at most `max_bytes` in memory.
    pub fn new(source: R, max_bytes: u64) -> Self {
        Self {
            source,
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            content: Vec::new(),
            size: 0,
            trimmed: 0,
            byte: 0,
            line: 1,
            state: State::Start,
        }
    }

    /// The stream; what is read from it directly belongs to no element.
    pub fn source_mut(&mut self) -> &mut R {
        &mut self.source
    }

    /// Changes the limit for the elements that follow.
    pub fn limit_elements(&mut self, max_bytes: u64) {
        self.max_bytes = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    }

    /// The next element, or `None` at the end. `should_continue` is called once per buffer; where it is false, reading
    /// ends.
    ///
    /// # Errors
    /// `NotAnArray` for a stream that does not begin with `[`, or has text after its `]`; what the stream fails with;
    /// `Stopped`.
    pub fn next_element(
        &mut self,
        should_continue: &dyn Fn() -> bool,
    ) -> Result<Option<Line<'_>>, LinesError> {
        if self.state == State::Start {
            self.skip_mark()?;
            match self.skip_space(should_continue)? {
                Some(b'[') => self.take(1),
                Some(_) => return Err(self.not_an_array("does not begin with \"[\"")),
                None => return Err(self.not_an_array("is empty")),
            }
            self.state = State::First;
        }
        if self.state == State::Ended {
            if self.skip_space(should_continue)?.is_some() {
                return Err(self.not_an_array("goes beyond the \"]\" of its list"));
            }
            self.state = State::Done;
        }
        if self.state == State::Done {
            return Ok(None);
        }
        let next = self.skip_space(should_continue)?;
        if next == Some(b']') && self.state == State::First {
            self.take(1);
            self.state = State::Ended;
            return self.next_element(should_continue);
        }
        let (number, byte_offset) = (self.line, self.byte);
        let is_ended = self.read_element(should_continue)?;
        self.content
            .truncate(usize::try_from(self.trimmed).unwrap_or(usize::MAX));
        Ok(Some(Line {
            number,
            byte_offset,
            content: &self.content,
            size: self.trimmed,
            is_ended,
        }))
    }

    /// Reads up to and with the `,` or `]` that ends the element; whether there is one.
    fn read_element(&mut self, should_continue: &dyn Fn() -> bool) -> Result<bool, LinesError> {
        self.content.clear();
        (self.size, self.trimmed) = (0, 0);
        let mut scan = Scan::default();
        loop {
            let available = fill(&mut self.source)?;
            if available.is_empty() {
                let is_whole = self.trimmed > 0 && scan.depth == 0 && !scan.is_in_string;
                self.state = if is_whole { State::CutOff } else { State::Done };
                return Ok(is_whole);
            }
            let (length, end) = scan.advance(available);
            let text = &available[..length];
            let room = self.max_bytes.saturating_sub(self.content.len());
            self.content.extend_from_slice(&text[..length.min(room)]);
            if let Some(last) = text.iter().rposition(|byte| !byte.is_ascii_whitespace()) {
                self.trimmed = self.size + last as u64 + 1;
            }
            self.size += length as u64;
            self.line += newlines(text);
            self.source.consume(length);
            self.byte += length as u64;
            if let Some(end) = end {
                self.take(1);
                self.state = if end == b']' {
                    State::Ended
                } else {
                    State::Element
                };
                return Ok(true);
            }
            if !should_continue() {
                return Err(LinesError::Stopped);
            }
        }
    }

    /// Passes over white space; the byte after it, which is not taken.
    fn skip_space(&mut self, should_continue: &dyn Fn() -> bool) -> Result<Option<u8>, LinesError> {
        loop {
            let available = fill(&mut self.source)?;
            if available.is_empty() {
                return Ok(None);
            }
            let found = available
                .iter()
                .position(|byte| !byte.is_ascii_whitespace());
            let space = &available[..found.unwrap_or(available.len())];
            let next = found.map(|place| available[place]);
            self.line += newlines(space);
            let length = space.len();
            self.take(length);
            if next.is_some() {
                return Ok(next);
            }
            if !should_continue() {
                return Err(LinesError::Stopped);
            }
        }
    }

    fn skip_mark(&mut self) -> Result<(), LinesError> {
        // A buffer holds at least a mark unless the stream is shorter, or a reader gives it byte by byte.
        if fill(&mut self.source)?.starts_with(BYTE_ORDER_MARK) {
            self.take(BYTE_ORDER_MARK.len());
        }
        Ok(())
    }

    fn take(&mut self, bytes: usize) {
        self.source.consume(bytes);
        self.byte += bytes as u64;
    }

    fn not_an_array(&self, problem: &'static str) -> LinesError {
        LinesError::NotAnArray {
            line: self.line,
            byte_offset: self.byte,
            problem,
        }
    }
}

impl Scan {
    /// Bytes of `text` that belong to the element, and the byte that ends it if that is the next.
    fn advance(&mut self, text: &[u8]) -> (usize, Option<u8>) {
        let mut at = 0;
        while at < text.len() {
            if self.is_escaped {
                self.is_escaped = false;
            } else if self.is_in_string {
                let Some(found) = memchr2(b'"', b'\\', &text[at..]) else {
                    return (text.len(), None);
                };
                at += found;
                if text[at] == b'"' {
                    self.is_in_string = false;
                } else {
                    self.is_escaped = true;
                }
            } else {
                match text[at] {
                    b'"' => self.is_in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b',' | b']' if self.depth == 0 => return (at, Some(text[at])),
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            at += 1;
        }
        (text.len(), None)
    }
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}
