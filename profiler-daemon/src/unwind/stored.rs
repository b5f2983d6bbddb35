//! A table as bytes on disk.
//!
//! A [`Head`], then the rules, the number of rows of each page, and the rows, then a digest of all that. The digest finds
//! damage and nothing else, so every field is checked besides: a table that was read leads no search out of bounds.

use profiler_common::unwind::cursor::SCRATCH_SLOTS;
use profiler_common::unwind::rule::{FIRST_SCRATCH, KEPT, Rule, base, cfa};
use profiler_common::unwind::table::Row;
use sha2::{Digest, Sha256};

use super::key::TableKey;
use super::limits;
use super::omission::{Omission, Omissions};
use super::table::{Page, Table};

/// The mark of the format, with its version.
const MAGIC: [u8; 8] = *b"prfdunw\x01";
const DIGEST_BYTES: usize = 32;

/// What a file begins with.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Head {
    magic: [u8; 8],
    key: [u8; 32],
    first_page: u32,
    rules: u32,
    pages: u32,
    rows: u32,
    omissions: [u32; Omission::ALL.len()],
}

/// The bytes of a table.
pub(super) fn encode_table(key: &TableKey, table: &Table) -> Vec<u8> {
    let head = Head {
        magic: MAGIC,
        key: key.0,
        first_page: table.first_page,
        rules: table.rules.len() as u32,
        pages: table.pages.len() as u32,
        rows: table.rows.len() as u32,
        omissions: table.omissions.0,
    };
    let counts: Vec<u32> = table.pages.iter().map(|page| page.count).collect();
    let parts = [bytemuck::bytes_of(&head), bytemuck::cast_slice(&table.rules), bytemuck::cast_slice(&counts)];
    let mut bytes = parts.concat();
    bytes.extend_from_slice(bytemuck::cast_slice(&table.rows));
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// The table of bytes that were stored under `key`; none if they are not exactly that.
pub(super) fn decode_table(key: &TableKey, bytes: &[u8]) -> Option<Table> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
    if *Sha256::digest(content) != *digest {
        return None;
    }
    let (head, mut rest) = content.split_at_checked(size_of::<Head>())?;
    let head: Head = bytemuck::pod_read_unaligned(head);
    if head.magic != MAGIC || head.key != key.0 {
        return None;
    }
    let rules = take(&mut rest, head.rules)?;
    let counts: Vec<u32> = take(&mut rest, head.pages)?;
    let rows = take(&mut rest, head.rows)?;
    let pages = lay_out(&counts)?;
    let table = Table { rules, first_page: head.first_page, pages, rows, omissions: Omissions(head.omissions) };
    (rest.is_empty() && is_valid(&table)).then_some(table)
}

/// The next `count` values.
fn take<T: bytemuck::Pod>(bytes: &mut &[u8], count: u32) -> Option<Vec<T>> {
    let (values, rest) = bytes.split_at_checked(usize::try_from(count).ok()?.checked_mul(size_of::<T>())?)?;
    *bytes = rest;
    Some(values.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
}

/// Pages of so many rows, one after the other.
fn lay_out(counts: &[u32]) -> Option<Vec<Page>> {
    let mut start = 0u32;
    let pages = counts.iter().map(|&count| {
        let page = Page { start, count };
        start = start.checked_add(count)?;
        Some(page)
    });
    pages.collect()
}

/// Whether a search in the table stays within it.
pub(super) fn is_valid(table: &Table) -> bool {
    let rows: usize = table.pages.iter().map(|page| page.count as usize).sum();
    let rules = table.rules.len();
    table.rules.starts_with(&[Rule::NONE, Rule::UNSUPPORTED])
        && rules <= limits::RULES
        && table.pages.len() <= limits::PAGES
        && rows == table.rows.len()
        && table.rules.iter().all(is_valid_rule)
        && table.pages.iter().all(|page| is_valid_page(page_rows(table, page), rules))
}

fn page_rows<'a>(table: &'a Table, page: &Page) -> &'a [u32] {
    &table.rows[page.start as usize..][..page.count as usize]
}

/// Whether rows begin with the first byte, ascend, and refer to rules there are.
fn is_valid_page(rows: &[u32], rules: usize) -> bool {
    let row = |word: &u32| Row::from_word(*word);
    rows.len() <= limits::PAGE_ROWS
        && rows.first().is_none_or(|first| row(first).low == 0)
        && rows.windows(2).all(|pair| row(&pair[0]).low < row(&pair[1]).low)
        && rows.iter().all(|word| usize::from(row(word).rule) < rules)
}

fn is_valid_rule(rule: &Rule) -> bool {
    let register = usize::from(rule.register);
    let scratch = usize::from(FIRST_SCRATCH)..usize::from(FIRST_SCRATCH) + SCRATCH_SLOTS;
    rule.cfa <= cfa::UNSUPPORTED
        && rule.base <= base::REGISTER
        && (register < KEPT || scratch.contains(&register))
        && (rule.padding, rule.padding2) == (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: TableKey = TableKey([7; 32]);

    fn table() -> Table {
        let row = |low, rule| Row { low, rule }.to_word();
        Table {
            rules: vec![Rule::NONE, Rule::UNSUPPORTED, Rule { offset: 8, ..Rule::new(cfa::STACK) }],
            first_page: 3,
            pages: lay_out(&[2, 0, 1]).unwrap(),
            rows: vec![row(0, 0), row(9, 2), row(0, 1)],
            omissions: Omissions([5; Omission::ALL.len()]),
        }
    }

    /// The bytes of a table that was changed on purpose, with a digest that fits.
    fn altered(change: impl FnOnce(&mut Table)) -> Vec<u8> {
        let mut table = table();
        change(&mut table);
        encode_table(&KEY, &table)
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        assert_eq!(decode_table(&KEY, &altered(|_| {})), Some(table()));
        let empty = Table::empty(Omissions::default());
        assert_eq!(decode_table(&KEY, &encode_table(&KEY, &empty)), Some(empty));
    }

    #[test]
    fn damage_of_any_byte_is_noticed() {
        let whole = altered(|_| {});
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert_eq!(decode_table(&KEY, &damaged), None, "byte {at}");
            assert_eq!(decode_table(&KEY, &whole[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn a_table_of_another_key_is_refused() {
        assert_eq!(decode_table(&TableKey([8; 32]), &altered(|_| {})), None);
    }

    #[test]
    fn a_table_that_leads_a_search_astray_is_refused() {
        type Change = fn(&mut Table);
        let changes: [(&str, Change); 13] = [
            ("a rule of no kind", |table| table.rules[2].cfa = cfa::UNSUPPORTED + 1),
            ("a base of no kind", |table| table.rules[2].base = base::REGISTER + 1),
            ("a register between", |table| table.rules[2].register = 6),
            ("a register beyond", |table| table.rules[2].register = FIRST_SCRATCH + SCRATCH_SLOTS as u8),
            ("padding", |table| table.rules[2].padding = 1),
            ("no rule for nothing", |table| table.rules.swap(0, 2)),
            ("no rules", |table| table.rules.clear()),
            ("rule out of bounds", |table| table.rows[1] = Row { low: 9, rule: 3 }.to_word()),
            ("rows out of order", |table| table.rows[1] = Row { low: 0, rule: 2 }.to_word()),
            ("no row for the first byte", |table| table.rows[2] = Row { low: 1, rule: 2 }.to_word()),
            ("too few rows", |table| _ = table.rows.pop()),
            ("too many rows", |table| table.rows.push(0)),
            ("too many pages", |table| table.pages.resize(limits::PAGES + 1, Page::default())),
        ];
        for (name, change) in changes {
            assert_eq!(decode_table(&KEY, &altered(change)), None, "{name}");
        }
    }

    #[test]
    fn lengths_that_are_claimed_and_not_there_are_refused() {
        let whole = altered(|_| {});
        for field in [44, 48, 52] {
            let mut content = whole[..whole.len() - DIGEST_BYTES].to_vec();
            content[field..field + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            let digest = Sha256::digest(&content);
            content.extend_from_slice(&digest);
            assert_eq!(decode_table(&KEY, &content), None, "{field}");
        }
    }
}
