//! Addresses and names of the few kernel functions the kernel half asks for, from `/proc/kallsyms`.

use std::collections::HashMap;
use std::io::BufRead;

const WANTED: [&str; 3] = ["ep_eventpoll_poll", "timerfd_poll", "pidfd_poll"];
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

    fn parse(lines: impl BufRead) -> Self {
        let mut symbols = Self::default();
        for line in lines.lines().map_while(Result::ok) {
            symbols.add(&line);
        }
        symbols
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
    fn hidden_addresses_are_absent() {
        let symbols = KernelSymbols::parse("0000000000000000 T timerfd_poll\n".as_bytes());
        assert_eq!(symbols.address("timerfd_poll"), None);
    }
}
