//! What a virtual machine says of its compiled methods, and a compiler of the lines of a class.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal};

use super::Running;
use crate::runtime::hotspot::names::method_name;

/// A compiled method as the machine lists it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) compile_id: u32,
    pub(super) name: String,
}

/// The compiled methods by where they lie; `None` if this machine does not list them (8).
pub(super) fn list(running: &Running) -> Option<BTreeMap<u64, Listed>> {
    let text = ask(running.child.id(), "Compiler.codelist").unwrap();
    let listed: BTreeMap<_, _> = text.lines().filter_map(parse).collect();
    (!listed.is_empty()).then_some(listed)
}

/// What a machine answers to a command.
fn ask(pid: u32, command: &str) -> io::Result<String> {
    let mut socket = connect(pid)?;
    write!(socket, "1\0jcmd\0{command}\0\0\0")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A machine makes its socket when it is asked to: by a file, and a signal.
fn connect(pid: u32) -> io::Result<UnixStream> {
    let folder = PathBuf::from(format!("/proc/{pid}/root/tmp"));
    let (socket, trigger) = (folder.join(format!(".java_pid{pid}")), folder.join(format!(".attach_pid{pid}")));
    if !socket.exists() {
        fs::write(&trigger, "")?;
        rustix::process::kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::QUIT)?;
        let begun = Instant::now();
        while !socket.exists() && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(5));
        }
        fs::remove_file(&trigger)?;
    }
    UnixStream::connect(&socket)
}

/// `104 4 0 a.B.c(I)J [0x00007fc850ed0690, 0x00007fc850ed0820 - 0x00007fc850ed0ab8]`
fn parse(line: &str) -> Option<(u64, Listed)> {
    let (front, addresses) = line.rsplit_once(" [0x")?;
    let address = u64::from_str_radix(addresses.split(',').next()?, 16).ok()?;
    let mut words = front.splitn(4, ' ');
    let compile_id = words.next()?.parse().ok()?;
    let (class, method) = words.nth(2)?.split('(').next()?.rsplit_once('.')?;
    // The list has dots where the machine has slashes, but for the one before an address.
    let class = match class.split_once("/0x") {
        Some((class, address)) => format!("{}/0x{address}", class.replace('.', "/")),
        None => class.replace('.', "/"),
    };
    Some((address, Listed { compile_id, name: method_name(&class, method) }))
}

/// By the name of a method, the bytecodes at which lines begin, each with its line; several tables if it is overloaded.
pub(super) type Lines = BTreeMap<String, Vec<Vec<(u32, u32)>>>;

/// What the class files of the program say.
pub(super) fn lines(classes: &Path) -> Lines {
    let mut lines = Lines::new();
    for class in ["Named", "Named$Square", "Named$Inner"] {
        let mut javap = Command::new("javap");
        javap.args(["-J-Dfile.encoding=UTF-8", "-J-Dstdout.encoding=UTF-8", "-l", "-p", "-cp"]).arg(classes);
        let output = javap.arg(format!("named.{class}")).output().unwrap();
        add_lines(&String::from_utf8(output.stdout).unwrap(), class, &mut lines);
    }
    lines
}

fn add_lines(text: &str, class: &str, lines: &mut Lines) {
    let mut name = String::new();
    for line in text.lines() {
        if let Some(entry) = line.trim().strip_prefix("line ") {
            let (line, bytecode) = entry.split_once(": ").unwrap();
            let entry = (bytecode.parse().unwrap(), line.parse().unwrap());
            lines.get_mut(&name).unwrap().last_mut().unwrap().push(entry);
        } else if line.trim() == "LineNumberTable:" {
            lines.entry(name.clone()).or_default().push(Vec::new());
        } else if let Some((head, _)) = line.split_once('(') {
            let method = head.rsplit([' ', '.']).next().unwrap();
            let constructor = class.rsplit('$').next().unwrap();
            let is_constructor = method == constructor || method == class;
            name = format!("named.{class}.{}", if is_constructor { "<init>" } else { method });
        } else if line.trim() == "static {};" {
            name = format!("named.{class}.<clinit>");
        }
    }
}

/// The line of a bytecode in a table.
pub(super) fn line_in(table: &[(u32, u32)], bytecode: u32) -> Option<u32> {
    let before = table.iter().filter(|(at, _)| *at <= bytecode);
    before.max_by_key(|(at, _)| *at).map(|(_, line)| *line)
}
