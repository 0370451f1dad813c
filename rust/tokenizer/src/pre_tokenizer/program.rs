//! Compiles regular expressions with look-around to programs for [`super::machine`].

use super::node::{Kind, Node, Outcome};
use super::set::Set;

/// The maximum number of instructions of a program.
const MAX_INSTRUCTIONS: usize = 1 << 17;

/// An instruction; the next one follows unless stated otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// One character of a set.
    One(Set),
    /// As many characters of a set as there are, at most `max`; fewer on backtracking, unless `kept`.
    Run {
        set: Set,
        min: u32,
        max: u32,
        kept: bool,
    },
    /// Continue at the first, or else at the second instruction.
    Either(usize, usize),
    /// Continue at an instruction.
    Jump(usize),
    /// Match only at the beginning of the text.
    Start,
    /// Match only at the end of the text.
    End,
    /// Store the position in a slot.
    Mark(usize),
    /// Continue at an instruction if the position differs from that in the slot, that is, if a repetition has advanced.
    IfMoved(usize, usize),
    /// The instructions up to `end` match (or do not match, if `negative`) here, or `back` characters earlier.
    Look {
        back: u32,
        negative: bool,
        end: usize,
    },
    /// The instructions up to `end` match, without backtracking into them.
    Atomic { end: usize },
    /// The end of the program, or of the instructions that a previous one encloses.
    Done,
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Program {
    pub steps: Vec<Step>,
    /// The number of slots.
    pub slots: usize,
}

impl Program {
    /// The program of an expression that [`super::dialect`] wrote.
    pub fn of(expression: &str) -> Outcome<Self> {
        let node = Node::of(expression)?;
        let mut program = Self {
            steps: Vec::new(),
            slots: 0,
        };
        program.add(&node)?;
        program.push(Step::Done)?;
        Ok(program)
    }

    fn push(&mut self, step: Step) -> Outcome<usize> {
        if self.steps.len() >= MAX_INSTRUCTIONS {
            return Err(format!("it has more than {MAX_INSTRUCTIONS} steps"));
        }
        self.steps.push(step);
        Ok(self.steps.len() - 1)
    }

    fn add(&mut self, node: &Node) -> Outcome<()> {
        match node {
            Node::Set(set) => self.push(Step::One(set.clone())).map(drop),
            Node::Start => self.push(Step::Start).map(drop),
            Node::End => self.push(Step::End).map(drop),
            Node::All(nodes) => nodes.iter().try_for_each(|node| self.add(node)),
            Node::Any(nodes) => self.add_any(nodes),
            Node::Repeat(node, min, max, kind) => self.add_repeat(node, *min, *max, *kind),
            Node::Look {
                node,
                behind: false,
                negative,
            } => self.add_look(node, 0, *negative),
            Node::Look { node, negative, .. } => self.add_look_behind(node, *negative),
            Node::Atomic(node) => {
                let at = self.push(Step::Atomic { end: 0 })?;
                self.add(node)?;
                let end = self.push(Step::Done)? + 1;
                self.steps[at] = Step::Atomic { end };
                Ok(())
            }
        }
    }

    fn add_any(&mut self, nodes: &[Node]) -> Outcome<()> {
        let mut jumps = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            if place + 1 == nodes.len() {
                self.add(node)?;
                break;
            }
            let choice = self.push(Step::Either(0, 0))?;
            self.add(node)?;
            jumps.push(self.push(Step::Jump(0))?);
            self.steps[choice] = Step::Either(choice + 1, self.steps.len());
        }
        for jump in jumps {
            self.steps[jump] = Step::Jump(self.steps.len());
        }
        Ok(())
    }

    fn add_look(&mut self, node: &Node, back: u32, negative: bool) -> Outcome<()> {
        let at = self.push(Step::Done)?;
        self.add(node)?;
        let end = self.push(Step::Done)? + 1;
        self.steps[at] = Step::Look {
            back,
            negative,
            end,
        };
        Ok(())
    }

    /// Each alternative of a look-behind has its own length.
    fn add_look_behind(&mut self, node: &Node, negative: bool) -> Outcome<()> {
        let alternatives = match node {
            Node::Any(nodes) => nodes.as_slice(),
            one => std::slice::from_ref(one),
        };
        let length = |node: &Node| {
            let length = node.length();
            length.ok_or_else(|| "look-behind without a fixed length is not supported".to_owned())
        };
        if negative {
            // None of them may match.
            return alternatives
                .iter()
                .try_for_each(|node| self.add_look(node, length(node)?, true));
        }
        let mut jumps = Vec::new();
        for (place, node) in alternatives.iter().enumerate() {
            let is_last = place + 1 == alternatives.len();
            let choice = self.push(Step::Either(0, 0))?;
            self.add_look(node, length(node)?, false)?;
            if is_last {
                self.steps[choice] = Step::Jump(choice + 1);
            } else {
                jumps.push(self.push(Step::Jump(0))?);
                self.steps[choice] = Step::Either(choice + 1, self.steps.len());
            }
        }
        for jump in jumps {
            self.steps[jump] = Step::Jump(self.steps.len());
        }
        Ok(())
    }

    fn add_repeat(&mut self, node: &Node, min: u32, max: Option<u32>, kind: Kind) -> Outcome<()> {
        if let (Node::Set(set), Kind::Greedy | Kind::Possessive) = (node, kind) {
            let step = Step::Run {
                set: set.clone(),
                min,
                max: max.unwrap_or(u32::MAX),
                kept: kind == Kind::Possessive,
            };
            return self.push(step).map(drop);
        }
        if kind == Kind::Possessive {
            let greedy = Node::Repeat(Box::new(node.clone()), min, max, Kind::Greedy);
            return self.add(&Node::Atomic(Box::new(greedy)));
        }
        for _ in 0..min {
            self.add(node)?;
        }
        let either = |on: usize, out: usize| match kind {
            Kind::Lazy => Step::Either(out, on),
            _ => Step::Either(on, out),
        };
        let mut choices = Vec::new();
        match max {
            Some(max) => {
                for _ in min..max {
                    choices.push(self.push(Step::Done)?);
                    self.add(node)?;
                }
            }
            None => {
                let slot = self.slots;
                self.slots += 1;
                choices.push(self.push(Step::Done)?);
                let choice = self.steps.len() - 1;
                self.push(Step::Mark(slot))?;
                self.add(node)?;
                self.push(Step::IfMoved(slot, choice))?;
            }
        }
        let out = self.steps.len();
        for choice in choices {
            self.steps[choice] = either(choice + 1, out);
        }
        Ok(())
    }
}
