//! What this machine is and allows: user, package manager, kernel.
use std::path::Path;

/// Whether this process may do everything: load BPF programs, install packages.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_user(&status) == Some(0)
}

/// Whether `CI=true`: then a step that would be skipped is a failure.
pub(crate) fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}

/// Whether the kernel describes its own types, which the daemon needs.
pub(crate) fn has_btf() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}

/// Why the live tests cannot run on this machine; `None` if they can.
pub(crate) fn live_obstacle() -> Option<&'static str> {
    if !is_root() {
        Some("live tests load BPF programs and need root: run `sudo -E cargo xtask live`")
    } else if !has_btf() {
        Some("the kernel has no /sys/kernel/btf/vmlinux: boot one built with CONFIG_DEBUG_INFO_BTF=y")
    } else {
        None
    }
}

fn effective_user(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_user("Name:\tx\nUid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_user(""), None);
    }
}
