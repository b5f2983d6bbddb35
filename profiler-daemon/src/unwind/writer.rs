//! Writes rules in the order of their addresses into the pages of a table.

use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::table::{PAGE_SHIFT, Row};

use super::limits;
use super::omission::{Omission, Omissions};
use super::rules::{NONE, Rules, UNSUPPORTED};
use super::table::{Page, Table};

/// A table under construction.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) omissions: Omissions,
    rules: Rules,
    first_page: u64,
    /// The pages that are complete; the next is under construction.
    pages: Vec<Page>,
    rows: Vec<u32>,
    /// Where the page under construction begins.
    page_start: usize,
    /// The rule in force at the last address written.
    in_force: u16,
}

impl Writer {
    /// A table that begins with the page of `start`.
    pub(super) fn new(start: u64) -> Self {
        Self {
            omissions: Omissions::default(),
            rules: Rules::new(),
            first_page: start >> PAGE_SHIFT,
            pages: Vec::new(),
            rows: Vec::new(),
            page_start: 0,
            in_force: NONE,
        }
    }

    /// The rule in force from an address on, which lies above all addresses before.
    pub(super) fn push(&mut self, address: u64, rule: &Rule) {
        let page = self.page_of(address);
        if page >= limits::PAGES {
            return self.omissions.note(Omission::TooManyPages, 1);
        }
        let number = self.rules.number(rule, &mut self.omissions);
        if number == self.in_force {
            return;
        }
        while self.pages.len() < page {
            self.close_page();
        }
        let low = address as u16;
        if low != 0 && self.rows.len() == self.page_start {
            self.add_row(0, self.in_force);
        }
        self.add_row(low, number);
        self.in_force = number;
    }

    /// The table, which ends at `end`: its last page is that of the byte before.
    pub(super) fn finish(mut self, end: u64) -> Table {
        if end as u16 != 0 {
            self.push(end, &Rule::NONE);
        }
        let pages = self.page_of(end - 1).saturating_add(1).min(limits::PAGES);
        while self.pages.len() < pages {
            self.close_page();
        }
        Table {
            rules: self.rules.into_all(),
            first_page: self.first_page as u32,
            pages: self.pages,
            rows: self.rows,
            omissions: self.omissions,
        }
    }

    fn page_of(&self, address: u64) -> usize {
        usize::try_from((address >> PAGE_SHIFT) - self.first_page).unwrap_or(usize::MAX)
    }

    fn add_row(&mut self, low: u16, rule: u16) {
        self.rows.push(Row { low, rule }.to_word());
    }

    /// A page without rows of its own has the rule in force, or nothing if that is none.
    fn close_page(&mut self) {
        if self.rows.len() == self.page_start && self.in_force != NONE {
            self.add_row(0, self.in_force);
        }
        let count = self.rows.len() - self.page_start;
        if count > limits::PAGE_ROWS {
            self.omissions.note(Omission::PageFull, count);
            self.rows.truncate(self.page_start);
            self.add_row(0, UNSUPPORTED);
        }
        self.pages.push(Page { start: self.page_start as u32, count: (self.rows.len() - self.page_start) as u32 });
        self.page_start = self.rows.len();
    }
}
