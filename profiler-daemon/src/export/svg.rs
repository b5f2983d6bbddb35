//! A flame graph as an interactive picture, drawn from the folded stacks.

use std::io;

use inferno::flamegraph::color::{Color, MultiPalette, PaletteMap};
use inferno::flamegraph::{Options, Palette, TextTruncateDirection, from_lines};

use super::folded::fold_stacks;
use super::{ExportError, ExportOptions};
use crate::profile::{State, WaitClass};
use crate::report::calibrate::residual_name;
use crate::report::{Calibrated, title};

/// The picture of a profile without any time.
const EMPTY: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<svg version="1.1" width="1200" height="60" viewBox="0 0 1200 60" xmlns="http://www.w3.org/2000/svg">
<text x="600" y="36" text-anchor="middle" font-family="monospace" font-size="14">Nothing ran or waited in this selection.</text>
</svg>
"#;

/// What the colors of [`state_colors`] mean.
const LEGEND: &str =
    "At the tips: blue waits, pale blue is idle, yellow wants a CPU, grey was not sampled; all else computes.";

/// Writes a flame graph. The same profile always gives the same picture.
pub fn write_svg(
    calibrated: &Calibrated<'_>,
    options: &ExportOptions,
    out: &mut dyn io::Write,
) -> Result<(), ExportError> {
    let lines: Vec<String> =
        fold_stacks(calibrated, options).iter().map(|(stack, ns)| format!("{stack} {ns}")).collect();
    if lines.is_empty() {
        return Ok(out.write_all(EMPTY.as_bytes())?);
    }
    let mut colors = state_colors();
    let mut style = style(title(calibrated));
    style.palette_map = Some(&mut colors);
    Ok(from_lines(&mut style, lines.iter().map(String::as_str), out)?)
}

fn style<'a>(title: String) -> Options<'a> {
    let mut style = Options::default();
    style.title = title;
    style.subtitle = Some(LEGEND.to_owned());
    style.count_name = "ns".to_owned();
    style.colors = Palette::Multi(MultiPalette::Java);
    style.hash = true;
    // The function comes first in a label, its file behind it.
    style.text_truncate_direction = TextTruncateDirection::Right;
    style.no_sort = true;
    style.pretty_xml = true;
    style
}

/// Waiting is blue, idling pale, wanting a CPU yellow, and not knowing grey, whatever color functions have.
fn state_colors() -> PaletteMap {
    let mut colors = PaletteMap::default();
    let [blue, pale, yellow, grey] = [(96, 160, 230), (190, 215, 240), (240, 205, 80), (190, 190, 190)]
        .map(|(red, green, blue)| Color::new(red, green, blue));
    for class in WaitClass::ALL {
        colors.insert(format!("[wait {}]", class.name()), blue);
        colors.insert(format!("[idle {}]", class.name()), pale);
        colors.insert(residual_name(State::Wait(class)), grey);
    }
    for state in ["[runq]", "[throttled]", "[steal]"] {
        colors.insert(state, yellow);
    }
    for state in ["[unsampled cpu]", "[unsampled runq]", "[unsampled throttled]"] {
        colors.insert(state, grey);
    }
    colors
}
