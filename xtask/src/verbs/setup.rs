//! `setup`: finds what is missing, installs it where it may, and says what is missing where it may not.
use crate::apt;
use crate::need::{NEEDS, Need, Ring};
use anyhow::{Result, bail};
use clap::Args;

/// Install what building and testing need.
///
/// As root on Debian or Ubuntu, what is missing is installed from the machine's package sources; nothing is ever
/// removed. Elsewhere each missing thing is named, with what to do about it, and the command fails. What is there
/// already is left alone, whoever installed it.
#[derive(Args)]
pub(crate) struct Setup {
    /// Only what this needs (repeatable); everything if left out.
    #[arg(long = "for", value_name = "RING", value_enum)]
    rings: Vec<Ring>,
    /// Install nothing, only say what is there and what is missing.
    #[arg(long)]
    dry_run: bool,
}

impl Setup {
    /// Sets up for `rings`.
    pub(crate) fn for_rings(rings: &[Ring]) -> Self {
        Self { rings: rings.to_vec(), dry_run: false }
    }

    /// Goes through the needs in order; later ones may depend on earlier ones.
    ///
    /// # Errors
    /// When something is still missing at the end.
    pub(crate) fn run(self) -> Result<()> {
        let missing = NEEDS.iter().filter(|need| self.concerns(need) && !self.is_met(need)).count();
        if missing > 0 {
            bail!("{missing} of the needs above are missing; follow what is said there, then run this again");
        }
        Ok(())
    }

    fn concerns(&self, need: &Need) -> bool {
        self.rings.is_empty() || need.rings.iter().any(|ring| self.rings.contains(ring))
    }

    fn is_met(&self, need: &Need) -> bool {
        if let Some(found) = (need.find)() {
            eprintln!("found    {}: {found}", need.name);
            return true;
        }
        if self.dry_run || !apt::is_usable() {
            eprintln!("MISSING  {}: {}", need.name, need.elsewhere);
            return false;
        }
        eprintln!("install  {}", need.name);
        match need.install() {
            Ok(found) => eprintln!("found    {}: {found}", need.name),
            Err(error) => {
                eprintln!("MISSING  {}: {error:#}", need.name);
                return false;
            }
        }
        true
    }
}
