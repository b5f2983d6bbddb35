//! Where names of functions come from and what is kept for them, as flags.

use clap::Args;

use crate::settings::quantity::parse_bytes;
use crate::settings::sampling::CACHE_LIMIT;
use crate::settings::{SamplingSettings, ServerUrl, SettingsError};

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
    /// Ask this server for debug information that the host does not have; repeatable. It is sent the
    /// build ids of the executables that run here. Off unless given
    #[arg(long, value_name = "URL")]
    pub(super) debuginfod: Vec<String>,
    /// Read no source files. Otherwise the text of a line is shown where its process has the file and may read it
    #[arg(long)]
    pub(super) no_source: bool,
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
        let servers = self.debuginfod.iter().map(|text| ServerUrl::parse("--debuginfod", text));
        settings.debuginfod = servers.collect::<Result<_, _>>()?;
        settings.source_text = !self.no_source;
        Ok(())
    }
}
