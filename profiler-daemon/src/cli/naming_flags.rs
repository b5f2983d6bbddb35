//! What to keep on disk from run to run, as flags.

use clap::Args;

use crate::settings::quantity::parse_bytes;
use crate::settings::sampling::CACHE_LIMIT;
use crate::settings::{SamplingSettings, SettingsError};

/// The flags about what helps to name functions.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "How to name functions")]
pub(super) struct NamingFlags {
    /// Keep there what is slow to make or to fetch, for the next run; none keeps nothing
    /// [default: /var/cache/profilerd]
    #[arg(long, value_name = "DIR")]
    pub(super) cache_dir: Option<String>,
    /// Disk space each kind of kept files may take; the least recently used go first [default: 2GiB]
    #[arg(long, value_name = "SIZE")]
    pub(super) cache_limit: Option<String>,
}

impl NamingFlags {
    /// Changes the settings that were given.
    pub(super) fn set(&self, settings: &mut SamplingSettings) -> Result<(), SettingsError> {
        if let Some(text) = &self.cache_dir {
            settings.cache_dir = (text != "none").then(|| text.into());
        }
        if let Some(text) = &self.cache_limit {
            settings.cache_limit = parse_bytes("--cache-limit", text, CACHE_LIMIT)? as u64;
        }
        Ok(())
    }
}
