//! Where an address lies: the file mapped there and the address within the file. For people who read a difference.

use std::collections::HashMap;

/// The executable mappings of every process the oracle told of.
#[derive(Debug, Default, Clone)]
pub struct Places(HashMap<u32, Vec<Mapping>>);

#[derive(Debug, Clone)]
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    name: String,
}

impl Places {
    /// Takes a line `map PID START END OFFSET PATH`. Later mappings hide earlier ones. Other lines are ignored.
    pub fn add_line(&mut self, line: &str) {
        if let Some((pid, mapping)) = parse_mapping(line) {
            self.0.entry(pid).or_default().push(mapping);
        }
    }

    /// `FILE+OFFSET`, or the bare address where no mapping is known.
    pub fn show(&self, pid: u32, address: u64) -> String {
        let mappings = self.0.get(&pid).map_or(&[][..], Vec::as_slice);
        match mappings.iter().rev().find(|mapping| (mapping.start..mapping.end).contains(&address)) {
            Some(mapping) => format!("{}+{:#x}", mapping.name, address - mapping.start + mapping.offset),
            None => format!("{address:#x}"),
        }
    }
}

fn parse_mapping(line: &str) -> Option<(u32, Mapping)> {
    let mut words = line.strip_prefix("map ")?.splitn(5, ' ');
    let pid = words.next()?.parse().ok()?;
    let mut address = || u64::from_str_radix(words.next()?, 16).ok();
    let (start, end, offset) = (address()?, address()?, address()?);
    let path = words.next().unwrap_or("");
    let name = if path.is_empty() { "anonymous" } else { path.rsplit('/').next().unwrap_or(path) };
    Some((pid, Mapping { start, end, offset, name: name.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_by_the_newest_mapping_it_lies_in() {
        let mut places = Places::default();
        places.add_line("map 7 1000 3000 200 /lib/old.so");
        places.add_line("map 7 2000 3000 0 ");
        places.add_line("stop 7 8 1 2 19 whole 1000");
        let shown = |address| places.show(7, address);
        assert_eq!([shown(0x1010), shown(0x2010), shown(0x5000)], ["old.so+0x210", "anonymous+0x10", "0x5000"]);
        assert_eq!(places.show(8, 0x1010), "0x1010");
    }
}
