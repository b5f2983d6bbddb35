//! The binary as a user meets it: what it says when it is misused, and with which code it ends. Needs no privilege.

use std::process::{Command, Output};

/// A pid above the greatest that the kernel gives out.
const NO_PID: &str = "4194305";

fn profilerd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_profilerd"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .output()
        .expect("the binary was built with this test")
}

/// Fails unless the command printed nothing but one line on standard error, and ended with the code.
fn assert_refused(arguments: &[&str], code: i32, message: &str) {
    let output = profilerd(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, format!("profilerd: {message}\n"), "{arguments:?}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{arguments:?}");
}

#[test]
fn bad_usage_ends_with_two_and_one_line_that_says_what_to_write() {
    for (arguments, message) in [
        (&["hotspots"][..], "say which processes: --pid N, --comm NAME, --exe PATH, --cgroup PATH or --all"),
        (
            &["breakdown", "--pid", "init"],
            "failed to read the selection: `pid:init` is not a selector: the pid is not a positive number; \
             write pid:N, comm:NAME, exe:/PATH, cgroup:/PATH or all",
        ),
        (
            &["hotspots", "--all", "--by", "color"],
            "failed to read the flags: `color` is not a value of `by`; write function, line, file, thread, process or wait",
        ),
        (
            &["hotspots", "--all", "--columns", "few"],
            "failed to read the flags: `few` is not a value of `columns`; write full or scalene",
        ),
        (
            &["hotspots", "--all", "--duration", "10"],
            "failed to read the flags: --duration `10` is not valid: write a duration from 100ms to 24h, \
             such as 10s, 500ms or 1h",
        ),
        (
            &["serve", "--frequency", "5000"],
            "failed to read the flags: --frequency `5000` is not valid: write a whole number from 1 to 1000",
        ),
        (
            &["serve", "--history", "5s"],
            "failed to read the flags: history is shorter than window; lengthen it or shorten window",
        ),
        (
            &["hotspots", "--all", "--debuginfod", "debian.net"],
            "failed to read the flags: --debuginfod `debian.net` is not valid: write the address of a server, \
             such as https://debuginfod.debian.net",
        ),
        (
            &["serve", "--debuginfod", "https://debuginfod.debian.net", "--cache-dir", "none"],
            "failed to read the flags: what --debuginfod fetches is kept on disk; name a directory with --cache-dir",
        ),
        (
            &["serve", "--select", "none", "--select", "all"],
            "--select none stands alone; leave it out to select the others",
        ),
        (
            &["serve", "--listen", "7070"],
            "failed to listen: listen `7070` is not valid: write an address and a port, \
             such as 127.0.0.1:7070 or [::1]:7070",
        ),
        (
            &["serve", "--listen", "0.0.0.0:7070"],
            "failed to listen: listening on 0.0.0.0:7070 would let other hosts read profiles and choose targets \
             without any authentication; listen on a loopback address such as 127.0.0.1:7070, or add --insecure \
             to allow it",
        ),
        (
            &["record", "--all", "-o", "a.xml"],
            "failed to choose a format: the name of `a.xml` does not tell a format; \
             end it in .folded, .svg, .pb.gz, .speedscope.json",
        ),
    ] {
        assert_refused(arguments, 2, message);
    }
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_sampling() {
    let message = "failed to write `/proc/none/a.svg`; choose a place that can be written: entity not found";
    assert_refused(&["record", "--all", "-o", "/proc/none/a.svg"], 1, message);
}

#[test]
fn a_pid_nobody_has_is_refused_before_anything_is_loaded() {
    for command in ["hotspots", "breakdown"] {
        let output = profilerd(&[command, "--pid", NO_PID]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with("profilerd: failed to select"), "{stderr}");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
    }
}

#[test]
fn a_port_in_use_is_refused_before_anything_is_loaded() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = format!(
        "failed to listen: {address} is in use, perhaps by another profilerd; \
         stop that one, or choose another address with --listen"
    );
    assert_refused(&["serve", "--select", "none", "--listen", &address], 1, &message);
}

#[test]
fn every_command_that_reads_source_files_can_be_told_not_to() {
    for command in ["serve", "hotspots", "record"] {
        let help = String::from_utf8(profilerd(&[command, "--help"]).stdout).unwrap();
        assert!(help.contains("--no-source"), "{command}: {help}");
    }
}

#[test]
fn an_unknown_flag_ends_with_two() {
    assert_eq!(profilerd(&["hotspots", "--colour"]).status.code(), Some(2));
    assert_eq!(profilerd(&[]).status.code(), Some(2));
}

#[test]
fn every_command_explains_itself_with_examples() {
    for command in ["serve", "hotspots", "breakdown", "record", "dump", "doctor"] {
        let output = profilerd(&[command, "--help"]);
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && help.contains("Examples:"), "{command}: {help}");
        assert!(!help.contains("--variant"), "flags for tests are hidden");
    }
}
