//! The rules of a table, each once, numbered.

use std::collections::HashMap;

use profiler_common::unwind::rule::Rule;

use super::limits;
use super::omission::{Omission, Omissions};

/// The number of [`Rule::NONE`] in every table.
pub(super) const NONE: u16 = 0;
/// The number of [`Rule::UNSUPPORTED`] in every table.
pub(super) const UNSUPPORTED: u16 = 1;

/// Rules and their numbers.
#[derive(Debug)]
pub(super) struct Rules {
    all: Vec<Rule>,
    numbers: HashMap<Words, u16>,
}

/// A rule as words, which are hashed at once.
type Words = [u32; size_of::<Rule>() / size_of::<u32>()];

impl Rules {
    pub(super) fn new() -> Self {
        let all = vec![Rule::NONE, Rule::UNSUPPORTED];
        let numbers = [NONE, UNSUPPORTED].map(|number| (bytemuck::cast(all[usize::from(number)]), number));
        Self { all, numbers: HashMap::from(numbers) }
    }

    /// The number of a rule; that of [`Rule::UNSUPPORTED`] if there are too many.
    pub(super) fn number(&mut self, rule: &Rule, omissions: &mut Omissions) -> u16 {
        let words: Words = bytemuck::cast(*rule);
        if let Some(number) = self.numbers.get(&words) {
            return *number;
        }
        let next = self.all.len();
        if next == limits::RULES {
            omissions.note(Omission::TooManyRules, 1);
            return UNSUPPORTED;
        }
        self.all.push(*rule);
        self.numbers.insert(words, next as u16);
        next as u16
    }

    pub(super) fn into_all(self) -> Vec<Rule> {
        self.all
    }
}
