//! Syntax tree of a regular expression with look-around, parsed from the output of [`super::dialect`].

use super::set::Set;
use regex_syntax::hir::{Class, HirKind};
use std::iter::Peekable;
use std::str::CharIndices;

/// A result, or what is not supported.
pub type Outcome<T> = Result<T, String>;

/// A node of the syntax tree.
#[derive(Debug, Clone)]
pub enum Node {
    Set(Set),
    Start,
    End,
    All(Vec<Node>),
    Any(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>, Kind),
    Look {
        node: Box<Node>,
        behind: bool,
        negative: bool,
    },
    Atomic(Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

impl Node {
    /// Parses an expression.
    pub fn of(expression: &str) -> Outcome<Self> {
        let mut parser = Parser {
            text: expression,
            rest: expression.char_indices().peekable(),
        };
        let node = parser.any()?;
        match parser.rest.peek() {
            Some(_) => Err("a ) without a group".to_owned()),
            None => Ok(node),
        }
    }

    /// The number of characters that it matches, if it is constant.
    pub fn length(&self) -> Option<u32> {
        match self {
            Self::Set(_) => Some(1),
            Self::Start | Self::End | Self::Look { .. } => Some(0),
            Self::All(nodes) => nodes
                .iter()
                .try_fold(0_u32, |sum, node| sum.checked_add(node.length()?)),
            Self::Any(nodes) => {
                let mut lengths = nodes.iter().map(Self::length);
                let first = lengths.next()??;
                lengths.all(|length| length == Some(first)).then_some(first)
            }
            Self::Repeat(node, min, max, _) => {
                (Some(*min) == *max).then(|| node.length()?.checked_mul(*min))?
            }
            Self::Atomic(node) => node.length(),
        }
    }
}

/// A parser of the dialect's output, which is well-formed.
struct Parser<'t> {
    text: &'t str,
    rest: Peekable<CharIndices<'t>>,
}

impl<'t> Parser<'t> {
    fn at(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |&(at, _)| at)
    }

    fn ahead(&mut self) -> &'t str {
        let at = self.at();
        &self.text[at..]
    }

    fn skip_if(&mut self, wanted: &str) -> bool {
        let is_next = self.ahead().starts_with(wanted);
        if is_next {
            for _ in wanted.chars() {
                self.rest.next();
            }
        }
        is_next
    }

    /// Alternatives, up to the end of their group.
    fn any(&mut self) -> Outcome<Node> {
        let mut nodes = vec![self.all()?];
        while self.skip_if("|") {
            nodes.push(self.all()?);
        }
        Ok(match nodes.len() {
            1 => nodes.remove(0),
            _ => Node::Any(nodes),
        })
    }

    fn all(&mut self) -> Outcome<Node> {
        let mut nodes = Vec::new();
        while !matches!(self.rest.peek(), None | Some((_, '|' | ')'))) {
            let node = self.one()?;
            nodes.push(self.repeated(node)?);
        }
        Ok(match nodes.len() {
            1 => nodes.remove(0),
            _ => Node::All(nodes),
        })
    }

    fn one(&mut self) -> Outcome<Node> {
        for (opening, make) in GROUPS {
            if self.skip_if(opening) {
                let inside = self.any()?;
                if !self.skip_if(")") {
                    return Err("a group is not closed".to_owned());
                }
                return Ok(make(inside));
            }
        }
        if self.ahead().starts_with("(?i:") {
            return self.any_case();
        }
        if self.skip_if("\\A") {
            return Ok(Node::Start);
        }
        if self.skip_if("\\z") {
            return Ok(Node::End);
        }
        let start = self.at();
        self.atom()?;
        let end = self.at();
        set_of(&self.text[start..end]).map(Node::Set)
    }

    /// `(?i:...)` around plain letters, apostrophes and `|`.
    fn any_case(&mut self) -> Outcome<Node> {
        let inside = self.ahead()["(?i:".len()..].split_once(')');
        let (inside, _) = inside.ok_or("a group is not closed")?;
        self.skip_if(&format!("(?i:{inside})"));
        let one = |character: char| set_of(&format!("(?i:{character})")).map(Node::Set);
        let word = |word: &str| {
            word.chars()
                .map(one)
                .collect::<Outcome<Vec<Node>>>()
                .map(Node::All)
        };
        let words = inside.split('|').map(word);
        Ok(Node::Any(words.collect::<Outcome<Vec<Node>>>()?))
    }

    /// Skips one character, escape or class.
    fn atom(&mut self) -> Outcome<()> {
        match self.rest.next() {
            Some((_, '\\')) => {
                let escaped = self.rest.next().map(|(_, escaped)| escaped);
                if matches!(escaped, Some('p' | 'P' | 'x')) && self.ahead().starts_with('{') {
                    while self.rest.next().is_some_and(|(_, inside)| inside != '}') {}
                }
                escaped
                    .map(drop)
                    .ok_or_else(|| "it ends in a backslash".to_owned())
            }
            Some((_, '[')) => {
                while !self.skip_if("]") {
                    self.atom()?;
                }
                Ok(())
            }
            Some(_) => Ok(()),
            None => Err("a class is not closed".to_owned()),
        }
    }

    fn repeated(&mut self, node: Node) -> Outcome<Node> {
        let (min, max) = match self.rest.peek() {
            Some((_, '*')) => (0, None),
            Some((_, '+')) => (1, None),
            Some((_, '?')) => (0, Some(1)),
            Some((_, '{')) => {
                let inside = self.ahead()[1..].split_once('}');
                let (counts, _) = inside.ok_or("a { is not closed")?;
                let (min, max) = counts.split_once(',').unwrap_or((counts, counts));
                let number = |text: &str| {
                    let number = text.parse::<u32>();
                    number.map_err(|_| format!("the repetition {{{counts}}} is not supported"))
                };
                let max = if max.is_empty() {
                    None
                } else {
                    Some(number(max)?)
                };
                let counts = (number(min)?, max);
                while self.rest.next().is_some_and(|(_, inside)| inside != '}') {}
                return Ok(self.of_kind(node, counts));
            }
            _ => return Ok(node),
        };
        self.rest.next();
        Ok(self.of_kind(node, (min, max)))
    }

    fn of_kind(&mut self, node: Node, (min, max): (u32, Option<u32>)) -> Node {
        let kind = match () {
            () if self.skip_if("?") => Kind::Lazy,
            () if self.skip_if("+") => Kind::Possessive,
            () => Kind::Greedy,
        };
        Node::Repeat(Box::new(node), min, max, kind)
    }
}

type Make = fn(Node) -> Node;

/// The opening of each kind of group, and its node.
const GROUPS: [(&str, Make); 6] = [
    ("(?:", |node| node),
    ("(?=", |node| look(node, false, false)),
    ("(?!", |node| look(node, false, true)),
    ("(?<=", |node| look(node, true, false)),
    ("(?<!", |node| look(node, true, true)),
    ("(?>", |node| Node::Atomic(Box::new(node))),
];

fn look(node: Node, behind: bool, negative: bool) -> Node {
    Node::Look {
        node: Box::new(node),
        behind,
        negative,
    }
}

/// The characters that match an expression for one character.
fn set_of(expression: &str) -> Outcome<Set> {
    let parsed = regex_syntax::ParserBuilder::new()
        .nest_limit(100)
        .build()
        .parse(expression);
    let parsed = parsed.map_err(|error| error.to_string())?;
    let ranges = match parsed.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            let bounds = class
                .iter()
                .map(|range| (u32::from(range.start()), u32::from(range.end())));
            bounds.collect()
        }
        HirKind::Class(Class::Bytes(class)) => {
            let bounds = class
                .iter()
                .map(|range| (u32::from(range.start()), u32::from(range.end())));
            bounds.collect()
        }
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).unwrap_or_default();
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(one), None) => vec![(u32::from(one), u32::from(one))],
                _ => return Err(format!("{expression} is not one character")),
            }
        }
        // A class without characters.
        HirKind::Empty => Vec::new(),
        _ => return Err(format!("{expression} is not one character")),
    };
    Ok(Set::of(ranges))
}
