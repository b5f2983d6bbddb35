//! Which privileges the daemon has.

use std::fs;

const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Whether the process may load the kernel half: `CAP_SYS_ADMIN`, or `CAP_BPF` and `CAP_PERFMON`.
pub fn can_load_programs() -> bool {
    let Some(effective) = effective_capabilities() else { return false };
    let has = |capability| has(effective, capability);
    has(CAP_SYS_ADMIN) || (has(CAP_BPF) && has(CAP_PERFMON))
}

/// Whether the process may read files whose owners do not let it; true also if that cannot be told.
pub fn can_read_any_file() -> bool {
    effective_capabilities()
        .is_none_or(|effective| has(effective, CAP_DAC_OVERRIDE) || has(effective, CAP_DAC_READ_SEARCH))
}

fn has(effective: u64, capability: u32) -> bool {
    effective >> capability & 1 == 1
}

fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
