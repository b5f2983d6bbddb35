//! What a DWARF expression computes, as far as rules can say it.

use gimli::{Encoding, EndianSlice, Expression, Format, LittleEndian, Operation};

use super::limits;

/// Bytes of a section.
pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;

const ENCODING: Encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };
/// The registers of x86_64 that the rule of a linkage stub uses.
const RSP: u16 = 7;
const RIP: u16 = 16;

/// The result of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// A number.
    Constant(i64),
    /// A register plus `offset`.
    Register { register: u16, offset: i64 },
    /// The word at a register plus `offset`, plus `addend`.
    Word { register: u16, offset: i64, addend: i64 },
    /// The CFA of a linkage stub, which has pushed a word from its byte `from` on.
    LinkageStub { from: u8 },
}

impl Value {
    /// The value of an expression, if it is one that rules can state.
    pub(super) fn of(expression: Expression<Bytes<'_>>) -> Option<Self> {
        let mut iter = expression.operations(ENCODING);
        let mut operations = Vec::with_capacity(limits::OPERATIONS);
        while let Some(operation) = iter.next().ok()? {
            if operations.len() == limits::OPERATIONS {
                return None;
            }
            operations.push(operation);
        }
        parse_linkage_stub(&operations).or_else(|| evaluate(&operations))
    }

    fn plus(self, constant: i64) -> Option<Self> {
        let add = |to: i64| to.checked_add(constant);
        Some(match self {
            Self::Constant(value) => Self::Constant(add(value)?),
            Self::Register { register, offset } => Self::Register { register, offset: add(offset)? },
            Self::Word { register, offset, addend } => Self::Word { register, offset, addend: add(addend)? },
            Self::LinkageStub { .. } => return None,
        })
    }

    fn dereference(self) -> Option<Self> {
        match self {
            Self::Register { register, offset } => Some(Self::Word { register, offset, addend: 0 }),
            _ => None,
        }
    }
}

/// Carries out operations on values that stay symbols.
fn evaluate(operations: &[Operation<Bytes<'_>>]) -> Option<Value> {
    let mut stack = Vec::with_capacity(operations.len());
    for operation in operations {
        let value = match *operation {
            Operation::RegisterOffset { register, offset, .. } => Value::Register { register: register.0, offset },
            Operation::UnsignedConstant { value } => Value::Constant(i64::try_from(value).ok()?),
            Operation::SignedConstant { value } => Value::Constant(value),
            Operation::PlusConstant { value } => {
                stack.pop().and_then(|of: Value| of.plus(i64::try_from(value).ok()?))?
            }
            Operation::Deref { size: 8, space: false, .. } => stack.pop()?.dereference()?,
            Operation::Plus => add(stack.pop()?, stack.pop()?)?,
            _ => return None,
        };
        stack.push(value);
    }
    stack.pop()
}

fn add(one: Value, other: Value) -> Option<Value> {
    match (one, other) {
        (Value::Constant(constant), value) | (value, Value::Constant(constant)) => value.plus(constant),
        _ => None,
    }
}

/// What linkers write for all stubs of a linkage table at once: `rsp + 8 + ((rip & 15) >= N) * 8`.
fn parse_linkage_stub(operations: &[Operation<Bytes<'_>>]) -> Option<Value> {
    use Operation::{And, Ge, Plus, RegisterOffset, Shl, UnsignedConstant};
    let [
        RegisterOffset { register: stack, offset: 8, .. },
        RegisterOffset { register: instruction, offset: 0, .. },
        UnsignedConstant { value: 15 },
        And,
        UnsignedConstant { value: from @ 0..16 },
        Ge,
        UnsignedConstant { value: 3 },
        Shl,
        Plus,
    ] = operations
    else {
        return None;
    };
    ((stack.0, instruction.0) == (RSP, RIP)).then_some(Value::LinkageStub { from: *from as u8 })
}
