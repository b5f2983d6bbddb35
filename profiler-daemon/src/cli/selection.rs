//! Which processes a command is about, as flags and as `SEL`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::failure::UsageError;
use crate::process::{ProcWorld, in_initial_pid_namespace, resolve};
use crate::settings::Selector;

/// The selection of a one-shot command. Children of selected processes are followed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which processes (children are followed)")]
pub(super) struct SelectionFlags {
    /// The process with this pid in the host's initial PID namespace; repeatable
    #[arg(long, value_name = "N")]
    pid: Vec<String>,
    /// Processes whose thread-group leader has this name; repeatable
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Processes that run this executable; repeatable
    #[arg(long, value_name = "PATH")]
    exe: Vec<PathBuf>,
    /// Processes in this cgroup or below it, as in /proc/PID/cgroup; repeatable
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Every process of the host
    #[arg(long)]
    all: bool,
}

impl SelectionFlags {
    /// What the flags mean. Each pid exists; an error says what to type instead.
    pub(super) fn selectors(&self) -> anyhow::Result<Vec<Selector>> {
        let selectors = parse_selectors(self.texts())?;
        if selectors.is_empty() {
            let message = "say which processes: --pid N, --comm NAME, --exe PATH, --cgroup PATH or --all";
            return Err(UsageError(message.to_owned()).into());
        }
        check_pids(&selectors)?;
        Ok(selectors)
    }

    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        texts.extend(self.pid.iter().map(|pid| format!("pid:{pid}")));
        texts.extend(self.comm.iter().map(|name| format!("comm:{name}")));
        texts.extend(self.exe.iter().map(|path| format!("exe:{}", absolute(path).display())));
        texts.extend(self.cgroup.iter().map(|path| format!("cgroup:{path}")));
        texts.extend(self.all.then(|| "all".to_owned()));
        texts
    }
}

/// What `--select` means: everything if it is not given, nothing if it is `none`.
pub(super) fn parse_select(texts: &[String]) -> anyhow::Result<Vec<Selector>> {
    match texts {
        [] => Ok(vec![Selector::All]),
        [none] if none == "none" => Ok(Vec::new()),
        _ if texts.iter().any(|text| text == "none") => {
            Err(UsageError("--select none stands alone; leave it out to select the others".to_owned()).into())
        }
        _ => {
            let selectors = parse_selectors(texts.to_vec())?;
            check_pids(&selectors)?;
            Ok(selectors)
        }
    }
}

fn parse_selectors(texts: Vec<String>) -> anyhow::Result<Vec<Selector>> {
    texts.iter().map(|text| text.parse().context("failed to read the selection")).collect()
}

/// Refuses pids nobody has, before anything is loaded.
fn check_pids(selectors: &[Selector]) -> anyhow::Result<()> {
    let mut pids = selectors.iter().filter(|selector| matches!(selector, Selector::Pid(_))).peekable();
    if pids.peek().is_some() && !in_initial_pid_namespace() {
        anyhow::bail!(
            "failed to select by pid: profilerd runs in a PID namespace of its own, so its pids are not the host's; \
             start it in the host's (docker run --pid=host, hostPID: true)"
        );
    }
    for selector in pids {
        resolve(selector, &ProcWorld).with_context(|| format!("failed to select {selector}"))?;
    }
    Ok(())
}

fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> SelectionFlags {
        SelectionFlags { pid: vec![], comm: vec![], exe: vec![], cgroup: vec![], all: false }
    }

    #[test]
    fn flags_mean_what_selectors_mean() {
        let flags = SelectionFlags {
            comm: vec!["nginx".into()],
            exe: vec!["/usr/bin/python3".into()],
            cgroup: vec!["/system.slice".into()],
            all: true,
            ..flags()
        };
        let shown: Vec<_> = flags.selectors().unwrap().iter().map(Selector::to_string).collect();
        assert_eq!(shown, ["comm:nginx", "exe:/usr/bin/python3", "cgroup:/system.slice", "all"]);
    }

    #[test]
    fn no_selection_says_how_to_select() {
        let message = flags().selectors().unwrap_err().to_string();
        assert!(message.contains("--pid N") && message.contains("--all"), "{message}");
    }

    #[test]
    fn a_pid_nobody_has_is_refused_before_anything_is_loaded() {
        let error = check_pids(&[Selector::Pid(4_194_304)]).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.starts_with("failed to select"), "{message}");
    }

    #[test]
    fn select_means_everything_unless_given_and_none_stands_alone() {
        assert_eq!(parse_select(&[]).unwrap(), [Selector::All]);
        assert_eq!(parse_select(&["none".to_owned()]).unwrap(), []);
        assert!(parse_select(&["none".to_owned(), "all".to_owned()]).is_err());
        assert!(parse_select(&["pod:web".to_owned()]).is_err());
    }
}
