//! Carries out the instructions that describe one function.
//!
//! Only what rules are made of is followed, so an instruction costs little whatever it says: the time a file takes is
//! proportional to what is read of it.

use gimli::{CallFrameInstruction, UnwindExpression};

use super::expression::Value;
use super::frames::{Frame, Frames, Kind};
use super::limits;
use super::machine::Machine;
use super::row::{Place, Row};

/// Instructions that make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The instructions of one function, partly carried out.
pub(super) struct Program<'a, 'f, S> {
    pub(super) row: Row,
    /// Where the row begins.
    pub(super) start: u64,
    frames: &'f Frames<'a, S>,
    machine: &'static Machine,
    code_factor: u64,
    data_factor: i64,
    /// The row that all functions begin with which share its description.
    initial: Option<Row>,
    remembered: Vec<Row>,
}

impl<'a, 'f, S: Kind<'a>> Program<'a, 'f, S> {
    /// The program of a function, before its first instruction.
    pub(super) fn begin(
        frame: &Frame<'a>,
        frames: &'f Frames<'a, S>,
        machine: &'static Machine,
    ) -> Result<Self, Malformed> {
        let common = frame.cie();
        let mut program = Self {
            row: Row::EMPTY,
            start: frame.initial_address(),
            frames,
            machine,
            code_factor: common.code_alignment_factor(),
            data_factor: common.data_alignment_factor(),
            initial: None,
            remembered: Vec::new(),
        };
        let mut instructions = common.instructions(&frames.section, &frames.bases);
        while let Some(instruction) = instructions.next().map_err(|_| Malformed)? {
            program.carry_out(instruction)?;
        }
        program.initial = Some(program.row);
        Ok(program)
    }

    /// Carries out an instruction. If it ends the row, the address where the next begins.
    pub(super) fn carry_out(&mut self, instruction: CallFrameInstruction<usize>) -> Result<Option<u64>, Malformed> {
        use CallFrameInstruction as I;
        match instruction {
            I::AdvanceLoc { delta } => return self.advance(delta).map(Some),
            I::SetLoc { address } => return if address < self.start { Err(Malformed) } else { Ok(Some(address)) },
            I::DefCfa { register, offset } => self.row.cfa = register_value(register, offset as i64),
            I::DefCfaSf { register, factored_offset } => {
                self.row.cfa = register_value(register, self.data_offset(factored_offset));
            }
            I::DefCfaRegister { register } => *self.cfa_parts()?.0 = register.0,
            I::DefCfaOffset { offset } => *self.cfa_parts()?.1 = offset as i64,
            I::DefCfaOffsetSf { factored_offset } => {
                let offset = self.data_offset(factored_offset);
                *self.cfa_parts()?.1 = offset;
            }
            I::DefCfaExpression { expression } => self.row.cfa = self.evaluate(expression),
            I::Undefined { register } => self.set(register, Place::Undefined),
            I::SameValue { register } => self.set(register, Place::Unchanged),
            I::Offset { register, factored_offset } => self.set_at_cfa(register, factored_offset as i64),
            I::OffsetExtendedSf { register, factored_offset } => self.set_at_cfa(register, factored_offset),
            I::ValOffset { register, factored_offset } => self.set_to_cfa(register, factored_offset as i64),
            I::ValOffsetSf { register, factored_offset } => self.set_to_cfa(register, factored_offset),
            I::Register { dest_register: register, .. } | I::ValExpression { register, .. } => {
                self.set(register, Place::Elsewhere);
            }
            I::Expression { register, expression } => self.set_by_expression(register, expression),
            I::Restore { register } => self.row.restore(register.0, &self.initial.ok_or(Malformed)?, self.machine),
            I::RememberState => self.remember()?,
            I::RestoreState => self.row = self.remembered.pop().ok_or(Malformed)?,
            I::ArgsSize { .. } | I::NegateRaState | I::Nop => {}
        }
        Ok(None)
    }

    fn advance(&self, delta: u32) -> Result<u64, Malformed> {
        let bytes = u64::from(delta).checked_mul(self.code_factor).ok_or(Malformed)?;
        self.start.checked_add(bytes).ok_or(Malformed)
    }

    fn remember(&mut self) -> Result<(), Malformed> {
        if self.remembered.len() == limits::REMEMBERED {
            return Err(Malformed);
        }
        self.remembered.push(self.row);
        Ok(())
    }

    /// The register and offset of a CFA that has them.
    fn cfa_parts(&mut self) -> Result<(&mut u16, &mut i64), Malformed> {
        match &mut self.row.cfa {
            Some(Value::Register { register, offset }) => Ok((register, offset)),
            _ => Err(Malformed),
        }
    }

    fn data_offset(&self, factored: i64) -> i64 {
        factored.wrapping_mul(self.data_factor)
    }

    fn set(&mut self, register: gimli::Register, place: Place) {
        self.row.set(register.0, place, self.machine);
    }

    fn set_at_cfa(&mut self, register: gimli::Register, factored: i64) {
        self.set(register, Place::AtCfa(self.data_offset(factored)));
    }

    fn set_to_cfa(&mut self, register: gimli::Register, factored: i64) {
        self.set(register, Place::Cfa(self.data_offset(factored)));
    }

    fn set_by_expression(&mut self, register: gimli::Register, expression: UnwindExpression<usize>) {
        let place = match self.evaluate(expression) {
            Some(Value::Register { register, offset }) => Place::AtRegister { register, offset },
            _ => Place::Elsewhere,
        };
        self.set(register, place);
    }

    fn evaluate(&self, expression: UnwindExpression<usize>) -> Option<Value> {
        Value::of(expression.get(&self.frames.section).ok()?)
    }
}

fn register_value(register: gimli::Register, offset: i64) -> Option<Value> {
    Some(Value::Register { register: register.0, offset })
}
