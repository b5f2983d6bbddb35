//! The unwind table of one executable.

use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::table::{PAGE_SHIFT, search};

use super::omission::Omissions;

/// For every address of an executable's code, how its caller is found.
///
/// Addresses are those of the module, as its segments state them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The rules, each once; rows refer to them by position. The first two are [`Rule::NONE`] and [`Rule::UNSUPPORTED`].
    pub rules: Vec<Rule>,
    /// The first address of the first page, shifted by [`PAGE_SHIFT`].
    pub first_page: u32,
    /// Where the rows of each page are; one without rows has [`Rule::NONE`] everywhere.
    pub pages: Vec<Page>,
    /// The rows of all pages, as words of [`profiler_common::unwind::table::Row`], ascending within a page. The first row
    /// of a page is that of its first byte.
    pub rows: Vec<u32>,
    /// What is left out.
    pub omissions: Omissions,
}

/// Where the rows of a page are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// The first row.
    pub start: u32,
    /// How many there are.
    pub count: u32,
}

impl Table {
    /// A table without rows.
    pub(super) fn empty(omissions: Omissions) -> Self {
        let rules = vec![Rule::NONE, Rule::UNSUPPORTED];
        Self { rules, first_page: 0, pages: Vec::new(), rows: Vec::new(), omissions }
    }

    /// The rule at an address of the module.
    pub fn find(&self, address: u64) -> Rule {
        let page = (address >> PAGE_SHIFT).checked_sub(u64::from(self.first_page));
        let page = page.and_then(|page| self.pages.get(usize::try_from(page).ok()?));
        let Some(page) = page.filter(|page| page.count > 0) else { return Rule::NONE };
        let row = search(page.start, page.count, address as u16, |at| self.rows[at as usize]);
        self.rules[usize::from(row.rule)]
    }

    /// The rows of a page.
    pub fn rows_of(&self, page: &Page) -> &[u32] {
        &self.rows[page.start as usize..(page.start + page.count) as usize]
    }

    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.rules) + size_of_val(&*self.pages) + size_of_val(&*self.rows)
    }
}
