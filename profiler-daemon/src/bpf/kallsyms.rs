//! Addresses and names of the few kernel functions the kernel half asks for, from `/proc/kallsyms`.

use std::collections::HashMap;
use std::io::BufRead;

const WANTED: [&str; 6] =
    ["ep_eventpoll_poll", "timerfd_poll", "pidfd_poll", "eventfd_poll", "signalfd_poll", "inotify_poll"];
const SWITCH_IN: &str = "finish_task_switch";

/// The kernel functions of interest.
#[derive(Debug, Default)]
pub struct KernelSymbols {
    addresses: HashMap<String, u64>,
    /// The name under which `finish_task_switch` can be probed, compiler suffix included.
    pub finish_task_switch: Option<String>,
}

impl KernelSymbols {
    /// Reads the running kernel's symbols; empty if they are hidden.
    pub fn read() -> Self {
        match std::fs::File::open("/proc/kallsyms") {
            Ok(file) => Self::parse(std::io::BufReader::new(file)),
            Err(_) => Self::default(),
        }
    }

    /// Reads up to the last symbol of interest: the kernel spells each line out as it is read, which takes its time.
    fn parse(mut lines: impl BufRead) -> Self {
        let (mut symbols, mut line) = (Self::default(), String::new());
        while !symbols.is_complete() && lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            symbols.add(&line);
            line.clear();
        }
        symbols
    }

    fn is_complete(&self) -> bool {
        self.addresses.len() == WANTED.len() && self.finish_task_switch.is_some()
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next()) else { return };
        let address = u64::from_str_radix(address, 16).unwrap_or_default();
        if WANTED.contains(&name) && address != 0 {
            self.addresses.insert(name.to_owned(), address);
        }
        if name == SWITCH_IN || name.strip_prefix(SWITCH_IN).is_some_and(|suffix| suffix.starts_with(".isra.")) {
            self.finish_task_switch = Some(name.to_owned());
        }
    }

    /// Whether the kernel shows no addresses.
    pub fn are_hidden(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The address of one of the functions.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.addresses.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probed_function_keeps_its_compiler_suffix() {
        let text = "ffffffff81000010 t finish_task_switch.isra.0\nffffffff81000020 T timerfd_poll\nffffffff81000030 t finish_task_switch_other\n";
        let symbols = KernelSymbols::parse(text.as_bytes());
        assert_eq!(symbols.finish_task_switch.as_deref(), Some("finish_task_switch.isra.0"));
        assert_eq!(symbols.address("timerfd_poll"), Some(0xffff_ffff_8100_0020));
    }

    #[test]
    fn nothing_is_read_beyond_the_last_symbol_of_interest() {
        let wanted: String = WANTED.iter().map(|name| format!("1 T {name}\n")).collect();
        let text = format!("1 t finish_task_switch\n{wanted}5 T later\n");
        let mut lines = text.as_bytes();
        assert!(KernelSymbols::parse(&mut lines).is_complete());
        assert_eq!(lines, b"5 T later\n");
    }

    #[test]
    fn hidden_addresses_are_absent() {
        let symbols = KernelSymbols::parse("0000000000000000 T timerfd_poll\n".as_bytes());
        assert!(symbols.address("timerfd_poll").is_none() && symbols.are_hidden());
    }
}
