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
    numbers: HashMap<Rule, u16>,
}

impl Rules {
    pub(super) fn new() -> Self {
        let all = vec![Rule::NONE, Rule::UNSUPPORTED];
        Self { numbers: HashMap::from([(all[0], NONE), (all[1], UNSUPPORTED)]), all }
    }

    /// The number of a rule; that of [`Rule::UNSUPPORTED`] if there are too many.
    pub(super) fn number(&mut self, rule: &Rule, omissions: &mut Omissions) -> u16 {
        if let Some(number) = self.numbers.get(rule) {
            return *number;
        }
        let next = self.all.len();
        if next == limits::RULES {
            omissions.note(Omission::TooManyRules, 1);
            return UNSUPPORTED;
        }
        self.all.push(*rule);
        self.numbers.insert(*rule, next as u16);
        next as u16
    }

    pub(super) fn into_all(self) -> Vec<Rule> {
        self.all
    }
}
