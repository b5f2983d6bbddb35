//! Rows of text as an aligned table for a terminal.

/// A table: a header and rows, columns separated by two spaces, the ones listed in `right` aligned to the right.
///
/// Cells must be safe to print.
pub(super) fn aligned(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let widths: Vec<usize> =
        (0..header.len()).map(|at| lines.iter().map(|line| width(&line[at])).max().unwrap_or(0)).collect();
    lines.iter().map(|line| aligned_line(line, &widths, right)).collect()
}

fn aligned_line(cells: &[String], widths: &[usize], right: &[usize]) -> String {
    let mut line = String::new();
    for (at, cell) in cells.iter().enumerate() {
        let padding = " ".repeat(widths[at] - width(cell));
        let (before, after) = if right.contains(&at) { (padding.as_str(), "") } else { ("", padding.as_str()) };
        line.extend([before, cell, after, "  "]);
    }
    line.truncate(line.trim_end().len());
    line + "\n"
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["1".to_owned(), "nginx".to_owned()], vec!["4711".to_owned(), "größe".to_owned()]];
        assert_eq!(aligned(&["PID", "NAME"], &rows, &[0]), " PID  NAME\n   1  nginx\n4711  größe\n");
    }
}
