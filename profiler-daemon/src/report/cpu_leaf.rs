//! Nanoseconds on a CPU by what exactly ran: which part of the interpreter, and which native module.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::profile::{CodeKind, Leaf};

/// The most modules named; the others are added up.
const MODULES: usize = 8;
/// Stands for modules that are not named.
const OTHER_MODULES: &str = "[other]";
/// What ends the file names of Python's extension modules, from here on.
const EXTENSION_MARKS: [&str; 2] = [".cpython-", ".abi3."];

/// Sampled CPU time of Python and native code, finer than by kind: `bytecode`, `runtime` and `gc` are Python's, `builtin`
/// and `native` are the rest of user time but for Java's. Time that no sample tells the kind of is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct CpuLeafNs {
    /// The instructions of Python functions.
    pub bytecode: u64,
    /// The interpreter's own functions, on behalf of instructions that call nothing.
    pub runtime: u64,
    /// Functions of the interpreter that a Python line called.
    pub builtin: u64,
    /// The collection of Python's garbage.
    pub gc: u64,
    /// Native code by module, the most first; where a Python line called it, the module that it called. The smallest are
    /// added up as `[other]`. Untrusted text.
    #[serde(serialize_with = "largest_first")]
    pub native: BTreeMap<String, u64>,
}

impl CpuLeafNs {
    /// Adds time of a kind of code; the kernel and Java have no finer classes.
    pub fn add(&mut self, kind: CodeKind, leaf: Leaf<'_>, ns: u64) {
        match (kind, leaf) {
            (CodeKind::Kernel | CodeKind::Jvm, _) => {}
            (CodeKind::Python, Leaf::Bytecode) => self.bytecode += ns,
            (CodeKind::Python, Leaf::Gc) => self.gc += ns,
            (CodeKind::Python, _) => self.runtime += ns,
            (CodeKind::Native, Leaf::Native(module)) => self.add_native(module, ns),
            (CodeKind::Native, _) => self.builtin += ns,
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.bytecode += other.bytecode;
        self.runtime += other.runtime;
        self.builtin += other.builtin;
        self.gc += other.gc;
        other.native.iter().for_each(|(module, ns)| self.add_native(module, *ns));
    }

    /// What most of the time went to: a class of the interpreter's, or a module, in short. Nothing without time.
    pub fn longest(&self) -> Option<&str> {
        let classes =
            [("bytecode", self.bytecode), ("runtime", self.runtime), ("builtin", self.builtin), ("gc", self.gc)];
        let modules = self.native.iter().map(|(module, ns)| (short_name(module), *ns));
        let all = classes.into_iter().chain(modules).filter(|(_, ns)| *ns > 0);
        all.min_by_key(|(_, ns)| Reverse(*ns)).map(|(name, _)| name)
    }

    fn add_native(&mut self, module: &str, ns: u64) {
        match self.native.get_mut(module) {
            Some(known) => *known += ns,
            None => _ = self.native.insert(module.to_owned(), ns),
        }
    }
}

/// `_hashlib` of `_hashlib.cpython-313-x86_64-linux-gnu.so`.
fn short_name(module: &str) -> &str {
    let mark = EXTENSION_MARKS.iter().find_map(|mark| module.find(mark)).filter(|at| *at > 0);
    mark.map_or(module, |at| &module[..at])
}

fn largest_first<S: Serializer>(native: &BTreeMap<String, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut modules: Vec<(&str, u64)> = native.iter().map(|(module, ns)| (module.as_str(), *ns)).collect();
    modules.sort_by_key(|(_, ns)| Reverse(*ns));
    let rest: u64 = modules.iter().skip(MODULES).map(|(_, ns)| ns).sum();
    modules.truncate(MODULES);
    let other = (rest > 0).then_some((OTHER_MODULES, rest));
    serializer.collect_map(modules.into_iter().chain(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_a_place_of_its_own_and_the_kinds_stay_whole() {
        let mut leaves = CpuLeafNs::default();
        for (kind, leaf, ns) in [
            (CodeKind::Python, Leaf::Bytecode, 1),
            (CodeKind::Python, Leaf::Runtime, 2),
            (CodeKind::Python, Leaf::Gc, 4),
            (CodeKind::Native, Leaf::Builtin, 8),
            (CodeKind::Native, Leaf::Native("libz.so.1"), 16),
            (CodeKind::Kernel, Leaf::Kernel, 32),
            (CodeKind::Jvm, Leaf::Jvm, 64),
        ] {
            leaves.add(kind, leaf, ns);
        }
        let sum = leaves.clone();
        leaves.merge(&sum);
        let native = [("libz.so.1".to_owned(), 32)].into();
        assert_eq!(leaves, CpuLeafNs { bytecode: 2, runtime: 4, gc: 8, builtin: 16, native });
    }

    #[test]
    fn json_names_the_largest_modules_first_and_adds_the_smallest_up() {
        let mut leaves = CpuLeafNs::default();
        (1..=10).for_each(|at| leaves.add(CodeKind::Native, Leaf::Native(&format!("lib{at}.so")), at));
        let json = serde_json::to_string(&leaves).unwrap();
        assert!(
            json.starts_with(r#"{"bytecode":0,"runtime":0,"builtin":0,"gc":0,"native":{"lib10.so":10,"lib9.so":9,"#)
        );
        assert!(json.ends_with(r#""lib3.so":3,"[other]":3}}"#), "{json}");
    }

    #[test]
    fn the_longest_class_is_named_in_short() {
        let with =
            |native: &str| CpuLeafNs { bytecode: 1, native: [(native.into(), 2)].into(), ..CpuLeafNs::default() };
        for (module, name) in [
            ("_hashlib.cpython-313-x86_64-linux-gnu.so", "_hashlib"),
            ("_rust.abi3.so", "_rust"),
            ("libz.so.1", "libz.so.1"),
            (".abi3.so", ".abi3.so"),
        ] {
            assert_eq!(with(module).longest(), Some(name));
        }
        assert_eq!(CpuLeafNs { bytecode: 1, ..CpuLeafNs::default() }.longest(), Some("bytecode"));
        assert_eq!(CpuLeafNs::default().longest(), None);
    }
}
