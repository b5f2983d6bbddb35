//! What is said when a command fails: one line, and the code that scripts see.

use std::process::ExitCode;

use crate::export::ExportError;
use crate::report::{ReportError, escape_untrusted};
use crate::settings::{ParseSelectorError, SettingsError};

/// What was typed means nothing, in words that say what to type instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// Prints the failure in one line; the code is 2 for bad usage and 1 for anything else.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    eprintln!("profilerd: {}", one_line(error));
    ExitCode::from(if error.chain().any(is_usage) { 2 } else { 1 })
}

fn one_line(error: &anyhow::Error) -> String {
    let lines = format!("{error:#}").lines().map(str::trim).collect::<Vec<_>>().join("; ");
    escape_untrusted(&lines).into_owned()
}

fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.is::<UsageError>()
        || cause.is::<SettingsError>()
        || cause.is::<ParseSelectorError>()
        || cause.is::<ReportError>()
        || matches!(cause.downcast_ref(), Some(ExportError::UnknownExtension(_) | ExportError::UnknownName(_)))
}

/// The reader of standard output went away, as `head` does: nothing is wrong.
fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn usage_and_failure_have_different_codes() {
        let usage = Err::<(), _>(SettingsError::Conflict("x")).context("failed to read flags").unwrap_err();
        assert_eq!(report(&usage), ExitCode::from(2));
        assert_eq!(report(&anyhow::anyhow!("no privilege")), ExitCode::from(1));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(report(&anyhow::Error::from(gone).context("failed to print")), ExitCode::SUCCESS);
    }

    #[test]
    fn a_failure_is_one_line() {
        let error = anyhow::anyhow!("line one\n  line\u{1b} two").context("failed to load");
        assert_eq!(one_line(&error), "failed to load: line one; line\\u{1b} two");
    }
}
