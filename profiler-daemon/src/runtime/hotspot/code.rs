//! What a frame stands for: one method, or several of which each was inlined into the next; read while the process lives.

use std::sync::Arc;

use profiler_common::hotspot::{HotSpot, NO_BYTECODE};

use super::blob::{Blob, is_method};
use super::debug_info::{DebugInfo, Scope};
use super::detect::Machine;
use super::method::Method;
use super::names::stub_name;
use crate::profile::{JavaCode, JavaFrame};
use crate::runtime::memory::ProcessMemory;

/// A method, at a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JavaMethod {
    /// Package, class and method: `java.util.HashMap.put`. Of code that is no method, its name in brackets. Untrusted text.
    pub name: Arc<str>,
    /// The source file with the folders of its package: `java/util/HashMap.java`. Untrusted text.
    pub file: Option<Arc<str>>,
    /// The line that was executing.
    pub line: Option<u32>,
    /// Whether it was inlined into the next.
    pub inlined: bool,
    /// Whether it was interpreted.
    pub interpreted: bool,
    /// Whether the instruction has no debug information, so that what the next instruction that has some stands for is told.
    pub approximate: bool,
    /// Where its code begins; of an interpreted method, where the method lies.
    pub start: u64,
}

/// Why a frame has no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// Something else lies there by now.
    Changed,
    /// It could not be read.
    Unreadable,
}

/// Reads what frames of one process stand for.
pub struct Reader<'a, 'w> {
    /// The machine whose frames they are.
    pub machine: &'a Machine,
    /// Where its heaps are.
    pub hotspot: &'a HotSpot,
    /// The memory of the process.
    pub memory: &'a ProcessMemory<'w>,
    /// The method at an address.
    pub methods: &'a dyn Fn(u64) -> Result<Arc<Method>, Unnamed>,
}

impl Reader<'_, '_> {
    /// The methods of a frame, innermost first; at least one.
    pub fn read(&self, frame: &JavaFrame) -> Result<Vec<JavaMethod>, Unnamed> {
        match frame.code {
            JavaCode::Interpreted { method, bytecode } => Ok(vec![self.read_interpreted(method, bytecode)?]),
            JavaCode::Compiled { compile_id } => self.read_compiled(frame, compile_id),
            JavaCode::Native { compile_id } => Ok(vec![self.read_native(frame, compile_id)?]),
            JavaCode::Stub | JavaCode::Entry | JavaCode::Continuation => Ok(vec![self.read_stub(frame)?]),
        }
    }

    fn read_interpreted(&self, address: u64, bytecode: u16) -> Result<JavaMethod, Unnamed> {
        let method = (self.methods)(address)?;
        let bytecode = (bytecode != NO_BYTECODE).then_some(u32::from(bytecode));
        if bytecode.is_some_and(|bytecode| !method.identity.has(bytecode)) {
            return Err(Unnamed::Changed);
        }
        let line = bytecode.and_then(|bytecode| method.line_of(bytecode));
        Ok(JavaMethod { interpreted: true, ..named(&method, line, address) })
    }

    fn read_compiled(&self, frame: &JavaFrame, compile_id: u32) -> Result<Vec<JavaMethod>, Unnamed> {
        let blob = self.read_blob(frame.pc)?;
        blob.check(compile_id, self.memory)?;
        let start = blob.code().ok_or(Unnamed::Unreadable)?.start;
        let (scopes, approximate) = self.read_scopes(frame, &blob, start)?;
        let named: Result<Vec<_>, _> = scopes.iter().map(|scope| self.name_scope(scope, start, approximate)).collect();
        blob.check_again(self.memory)?;
        named
    }

    /// The scopes of an instruction, and whether these are only near it: what was inlined is not known everywhere, what was
    /// compiled is.
    fn read_scopes(&self, frame: &JavaFrame, blob: &Blob<'_>, start: u64) -> Result<(Vec<Scope>, bool), Unnamed> {
        let (layout, offset) = (&self.machine.layout, frame.pc.wrapping_sub(start));
        let method = blob.number(layout.compiled.method).ok_or(Unnamed::Unreadable)?;
        let outermost = |bytecode| (vec![Scope { method, bytecode, inlined: false }], true);
        if frame.is_innermost() && blob.frame_complete().is_some_and(|complete| offset < complete) {
            return Ok(outermost(Some(0)));
        }
        let Some(info) = DebugInfo::of(blob, layout) else { return Ok(outermost(None)) };
        let Some(place) = info.find_place(offset, layout, self.memory)? else { return Ok(outermost(None)) };
        let scopes = info.read_scopes(place.scope, layout, self.memory)?;
        let is_exact = u64::try_from(place.offset) == Ok(offset);
        Ok(scopes.map_or_else(|| outermost(None), |scopes| (scopes, !is_exact)))
    }

    fn name_scope(&self, scope: &Scope, start: u64, approximate: bool) -> Result<JavaMethod, Unnamed> {
        let method = (self.methods)(scope.method)?;
        let line = scope.bytecode.and_then(|bytecode| method.line_of(bytecode));
        Ok(JavaMethod { inlined: scope.inlined, approximate, ..named(&method, line, start) })
    }

    fn read_native(&self, frame: &JavaFrame, compile_id: u32) -> Result<JavaMethod, Unnamed> {
        let blob = self.read_blob(frame.pc)?;
        blob.check(compile_id, self.memory)?;
        let method = blob.number(self.machine.layout.compiled.method).ok_or(Unnamed::Unreadable)?;
        let method = (self.methods)(method)?;
        blob.check_again(self.memory)?;
        Ok(named(&method, None, blob.code().ok_or(Unnamed::Unreadable)?.start))
    }

    fn read_stub(&self, frame: &JavaFrame) -> Result<JavaMethod, Unnamed> {
        let blob = self.read_blob(frame.pc)?;
        let name = blob.name(self.memory)?;
        if is_method(&name) {
            return Err(Unnamed::Changed);
        }
        let start = blob.code().ok_or(Unnamed::Unreadable)?.start;
        let name = stub_name(&name).into();
        Ok(JavaMethod { name, file: None, line: None, inlined: false, interpreted: false, approximate: false, start })
    }

    fn read_blob(&self, pc: u64) -> Result<Blob<'_>, Unnamed> {
        Blob::read(pc, self.hotspot, &self.machine.layout, self.memory)
    }
}

fn named(method: &Method, line: Option<u32>, start: u64) -> JavaMethod {
    let (name, file) = (method.name.clone(), method.file.clone());
    JavaMethod { name, file, line, inlined: false, interpreted: false, approximate: false, start }
}
