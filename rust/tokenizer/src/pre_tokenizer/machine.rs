//! Runs a [`Program`] with backtracking; every step is counted.
//!
//! The backtracking stack is on the heap, so that no text makes the call stack grow: only nested groups do.

use super::program::{Program, Step};
use super::step_budget::StepBudget;

/// Steps between two checks of the cancellation flag.
const BETWEEN_CHECKS: u32 = 1 << 16;
/// The maximum size of the backtracking stack.
const MAX_BRANCHES: usize = 1 << 22;

/// An entry of the backtracking stack: where to continue if what follows fails.
enum Branch {
    /// At this instruction and position.
    At(usize, usize),
    /// After a run of characters, one character shorter each time down to the minimum.
    Shorter { next: usize, min: usize, at: usize },
    /// Restores the position in a slot.
    Slot(usize, usize),
}

/// The limit of steps was reached, or the call was cancelled.
pub struct Ended;

/// A machine for one text.
pub struct Machine<'m, 's> {
    program: &'m Program,
    text: &'m str,
    branches: Vec<Branch>,
    slots: Vec<usize>,
    steps: &'m mut StepBudget<'s>,
    since_check: u32,
}

impl<'m, 's> Machine<'m, 's> {
    /// A machine that takes its steps from a budget.
    pub fn of(program: &'m Program, text: &'m str, steps: &'m mut StepBudget<'s>) -> Self {
        Self {
            program,
            text,
            branches: Vec::new(),
            slots: vec![0; program.slots],
            steps,
            since_check: 0,
        }
    }

    /// The first match at `at` or later.
    pub fn find(&mut self, at: usize) -> Result<Option<(usize, usize)>, Ended> {
        let mut start = at;
        loop {
            if let Some(end) = self.run(0, start)? {
                return Ok(Some((start, end)));
            }
            match self.text[start..].chars().next() {
                Some(character) => start += character.len_utf8(),
                None => return Ok(None),
            }
        }
    }

    /// Counts steps.
    #[inline]
    fn count(&mut self, steps: u64) -> Result<(), Ended> {
        self.since_check += 1;
        if self.since_check >= BETWEEN_CHECKS {
            self.since_check = 0;
            if self.steps.cancel_flag().is_raised() {
                return Err(Ended);
            }
        }
        if self.steps.take(steps) {
            Ok(())
        } else {
            Err(Ended)
        }
    }

    fn push(&mut self, way: Branch) -> Result<(), Ended> {
        if self.branches.len() >= MAX_BRANCHES {
            // No text that is not far larger has that many steps left.
            self.steps.take(u64::MAX);
            return Err(Ended);
        }
        self.branches.push(way);
        Ok(())
    }

    /// Where the instructions from `next` to their [`Step::Done`] end if they begin at `at`. Branches that were not taken are
    /// dropped.
    fn run(&mut self, mut next: usize, mut at: usize) -> Result<Option<usize>, Ended> {
        let before = self.branches.len();
        loop {
            self.count(1)?;
            let on = match &self.program.steps[next] {
                Step::Done => {
                    self.branches.truncate(before);
                    return Ok(Some(at));
                }
                Step::One(set) => match self.text[at..].chars().next() {
                    Some(character) if set.has(character) => {
                        Some((next + 1, at + character.len_utf8()))
                    }
                    _ => None,
                },
                Step::Run { .. } => self.run_of(next, at)?.map(|end| (next + 1, end)),
                Step::Either(first, second) => {
                    let (first, second) = (*first, *second);
                    self.push(Branch::At(second, at))?;
                    Some((first, at))
                }
                Step::Jump(to) => Some((*to, at)),
                Step::Start => (at == 0).then_some((next + 1, at)),
                Step::End => (at == self.text.len()).then_some((next + 1, at)),
                Step::Mark(slot) => {
                    let slot = *slot;
                    let old = std::mem::replace(&mut self.slots[slot], at);
                    self.push(Branch::Slot(slot, old))?;
                    Some((next + 1, at))
                }
                Step::IfMoved(slot, to) => {
                    let to = if self.slots[*slot] == at {
                        next + 1
                    } else {
                        *to
                    };
                    Some((to, at))
                }
                Step::Look {
                    back,
                    negative,
                    end,
                } => {
                    let (back, negative, end) = (*back, *negative, *end);
                    let matches = match self.back(at, back) {
                        Some(place) => self.run(next + 1, place)?.is_some(),
                        None => false,
                    };
                    (matches != negative).then_some((end, at))
                }
                Step::Atomic { end } => {
                    let end = *end;
                    self.run(next + 1, at)?.map(|place| (end, place))
                }
            };
            match on.or_else(|| self.next_branch(before)) {
                Some(on) => (next, at) = on,
                None => return Ok(None),
            }
        }
    }

    /// Takes the latest branch.
    fn next_branch(&mut self, before: usize) -> Option<(usize, usize)> {
        while self.branches.len() > before {
            match self.branches.pop()? {
                Branch::At(next, at) => return Some((next, at)),
                Branch::Slot(slot, old) => self.slots[slot] = old,
                Branch::Shorter { next, min, at } => {
                    let last = self.text[..at]
                        .chars()
                        .next_back()
                        .map_or(0, char::len_utf8);
                    let at = at - last;
                    if at > min {
                        self.branches.push(Branch::Shorter { next, min, at });
                    }
                    return Some((next, at));
                }
            }
        }
        None
    }

    /// Where a run of characters ends; it may be shortened later.
    fn run_of(&mut self, next: usize, at: usize) -> Result<Option<usize>, Ended> {
        let Step::Run {
            set,
            min,
            max,
            kept,
        } = &self.program.steps[next]
        else {
            return Ok(None);
        };
        let (mut end, mut count, mut shortest) = (at, 0_u32, at);
        for character in self.text[at..].chars() {
            if count == *max || !set.has(character) {
                break;
            }
            end += character.len_utf8();
            count += 1;
            if count == *min {
                shortest = end;
            }
        }
        let is_enough = count >= *min;
        let may_shrink = is_enough && !kept && end > shortest;
        self.count(u64::from(count))?;
        if may_shrink {
            self.push(Branch::Shorter {
                next: next + 1,
                min: shortest,
                at: end,
            })?;
        }
        Ok(is_enough.then_some(end))
    }

    /// The position `characters` characters before `at`.
    fn back(&self, at: usize, characters: u32) -> Option<usize> {
        let mut place = at;
        for _ in 0..characters {
            place -= self.text[..place].chars().next_back()?.len_utf8();
        }
        Some(place)
    }
}
