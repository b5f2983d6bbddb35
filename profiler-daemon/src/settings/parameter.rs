//! The parameters of reports, one row each: the rows feed the parser, the error texts and the API's document.

/// One parameter of a report: `name=value` in a query, `--name value` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// The name.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub help: &'static str,
    /// The values it takes where they are a closed list; empty where any text of the right shape will do.
    pub values: &'static [&'static str],
    /// A value to show as an example, valid on its own.
    pub example: &'static str,
}

/// Every parameter a report can take.
pub const PARAMETERS: &[Parameter] = &[
    row("last", "The time before now to cover; 60s unless given. Rounded outward to windows.", &[], "60s"),
    row("from", "The first moment to cover, in RFC 3339. Not together with `last`.", &[], "2026-11-21T12:00:00Z"),
    row("to", "The moment to end at, in RFC 3339; now unless given. Needs `from`.", &[], "2026-11-21T12:01:00Z"),
    row("pid", "Only the process with this pid in the host's initial PID namespace.", &[], "4711"),
    row(
        "comm",
        "Only processes whose thread-group leader had this name then, and the children of those alive now.",
        &[],
        "nginx",
    ),
    row(
        "exe",
        "Only processes that run this executable, and their children; found are those alive now.",
        &[],
        "/usr/bin/python3",
    ),
    row(
        "cgroup",
        "Only processes in this cgroup or below it, and their children; found are those alive now.",
        &[],
        "/system.slice",
    ),
    row("thread", "Only threads of this name, or the one with this tid.", &[], "worker-1"),
    row("state", "Only these states, separated by commas; `wait` means every wait.", &[], "cpu,disk"),
    row("path", "Only rows whose source file matches this glob.", &[], "/app/**/*.py"),
    row("min", "Leave out rows below this percentage of the total.", &[], "0.5"),
    row("idle", "Whether to hide or show time spent parked with nothing to do.", &["hide", "show"], "hide"),
    row("by", "What a row stands for.", &["function", "line", "file", "thread", "process", "wait"], "function"),
    row("inclusive", "Charge each row with what it called, too; rows then overlap.", SWITCH, "false"),
    row("kernel", "Show kernel frames as rows instead of charging their caller.", SWITCH, "false"),
    row("libc", "Show the C library's frames as rows instead of charging their caller.", SWITCH, "false"),
    row("native", "Show native frames called from Python or Java as rows of their own.", SWITCH, "false"),
    row("limit", "The most rows to list; 0 lists all.", &[], "30"),
    row(
        "sort",
        "What to sort by, longest first: `total` is for hotspots, `busy` and `wall` are for breakdowns.",
        &["total", "busy", "wall", "cpu", "wait", "runq", "name"],
        "cpu",
    ),
    row(
        "columns",
        "All columns, or only those of Scalene: there, IO Wait is all time off the CPU, and CPU(C) has the kernel's time.",
        &["full", "scalene"],
        "full",
    ),
];

/// The parameters of a breakdown.
pub const BREAKDOWN: &[&str] =
    &["last", "from", "to", "pid", "comm", "exe", "cgroup", "thread", "state", "min", "limit", "sort"];

/// The parameters of hotspots.
pub const HOTSPOTS: &[&str] = &[
    "last",
    "from",
    "to",
    "pid",
    "comm",
    "exe",
    "cgroup",
    "thread",
    "state",
    "path",
    "min",
    "idle",
    "by",
    "inclusive",
    "kernel",
    "libc",
    "native",
    "limit",
    "sort",
    "columns",
];

/// The parameters of an exported profile.
pub const PROFILE: &[&str] = &["last", "from", "to", "pid", "comm", "exe", "cgroup", "thread", "state", "idle"];

const SWITCH: &[&str] = &["true", "false"];

/// The row of the parameter, by its name.
pub fn parameter(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name == name)
}

const fn row(
    name: &'static str,
    help: &'static str,
    values: &'static [&'static str],
    example: &'static str,
) -> Parameter {
    Parameter { name, help, values, example }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ReportQuery;

    #[test]
    fn every_list_names_parameters_that_exist() {
        for name in [BREAKDOWN, HOTSPOTS, PROFILE].concat() {
            assert!(parameter(name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_example_is_valid() {
        for parameter in PARAMETERS.iter().filter(|parameter| parameter.name != "to") {
            let pairs = [(parameter.name, parameter.example)];
            ReportQuery::parse(pairs, HOTSPOTS).unwrap_or_else(|error| panic!("{}: {error}", parameter.name));
        }
    }
}
