//! Profiles in the formats other tools read: one file per format, and the list of them.
//!
//! In comes a [`Calibrated`] profile that a query has already narrowed; out goes text or bytes into any writer. A format only
//! encodes: where the bytes go, and what was selected, is decided elsewhere. All formats have in common:
//!
//! - values are calibrated nanoseconds, so every format sums up to the same total;
//! - time without a stack is a frame such as `[steal]` or `[unsampled disk]`;
//! - names from profiled processes are untrusted, and no name can break the syntax of a format.

use std::io;
use std::path::Path;

use crate::profile::Profile;
use crate::report::{Calibrated, Filter, calibrate, escape_untrusted};

pub mod folded;
mod label;
pub mod pprof;
pub mod speedscope;
pub mod svg;

/// One format.
#[derive(Debug)]
pub struct Format {
    /// The word that names it.
    pub name: &'static str,
    /// How names of its files end, without the first dot.
    pub extension: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Writes a profile in this format.
    pub write: fn(&Calibrated<'_>, &ExportOptions, &mut dyn io::Write) -> Result<(), ExportError>,
}

/// All formats.
pub static FORMATS: &[Format] = &[
    Format {
        name: "folded",
        extension: "folded",
        media_type: "text/plain; charset=utf-8",
        write: folded::write_folded,
    },
    Format { name: "svg", extension: "svg", media_type: "image/svg+xml", write: svg::write_svg },
    Format { name: "pprof", extension: "pb.gz", media_type: "application/octet-stream", write: pprof::write_pprof },
    Format {
        name: "speedscope",
        extension: "speedscope.json",
        media_type: "application/json",
        write: speedscope::write_speedscope,
    },
];

/// How to write a profile. A format ignores what it has no place for.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Whether threads are frames of folded stacks.
    pub threads: bool,
    /// Whether frames are told apart by line.
    pub lines: bool,
    /// What pprof shows unless asked for another value.
    pub default_value: pprof::ValueKind,
}

/// Why a profile could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// No format has this name.
    #[error("`{0}` is not a format; the formats are {list}", list = format_list())]
    UnknownName(String),
    /// No format has this extension.
    #[error("the name of `{0}` does not tell a format; end it in {list}", list = extension_list())]
    UnknownExtension(String),
    /// The writer failed.
    #[error("failed to write the profile: {0}")]
    Io(#[from] io::Error),
    /// The profile could not be encoded.
    #[error("failed to encode the profile: {0}")]
    Encode(#[from] serde_json::Error),
}

/// The format with this name.
pub fn format_by_name(name: &str) -> Result<&'static Format, ExportError> {
    let found = FORMATS.iter().find(|format| format.name == name);
    found.ok_or_else(|| ExportError::UnknownName(escape_untrusted(name).into_owned()))
}

/// The format that a file's name ends in.
pub fn format_by_extension(path: &Path) -> Result<&'static Format, ExportError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ends = |format: &&Format| name.strip_suffix(format.extension).is_some_and(|stem| stem.ends_with('.'));
    let found = FORMATS.iter().find(ends);
    found.ok_or_else(|| ExportError::UnknownExtension(escape_untrusted(&path.to_string_lossy()).into_owned()))
}

/// Writes the part of a profile that the filter selects. A path keeps the stacks with a frame in a matching file.
pub fn export(
    profile: &Profile,
    filter: &Filter,
    format: &Format,
    options: &ExportOptions,
    out: &mut dyn io::Write,
) -> Result<(), ExportError> {
    let mut selected = calibrate(profile).select(filter);
    if let Some(path) = &filter.path {
        selected = selected.keep_path(path);
    }
    (format.write)(&selected, options, out)
}

fn format_list() -> String {
    FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", ")
}

fn extension_list() -> String {
    FORMATS.iter().map(|format| format!(".{}", format.extension)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_found_by_its_name_and_by_the_names_of_its_files() {
        for format in FORMATS {
            assert_eq!(format_by_name(format.name).unwrap().name, format.name);
            let path = format!("/tmp/some.dir/a.b.{}", format.extension);
            assert_eq!(format_by_extension(Path::new(&path)).unwrap().name, format.name);
        }
    }

    #[test]
    fn an_unknown_format_is_answered_with_all_formats() {
        let message = format_by_name("xml").unwrap_err().to_string();
        assert_eq!(message, "`xml` is not a format; the formats are folded, svg, pprof, speedscope");
        for path in ["out", "out.json", "dir.svg/out", "svg", "x.SVG\n"] {
            let message = format_by_extension(Path::new(path)).unwrap_err().to_string();
            assert!(message.ends_with("end it in .folded, .svg, .pb.gz, .speedscope.json"), "{message}");
            assert!(!message.contains('\n'));
        }
    }
}
