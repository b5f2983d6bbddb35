//! From a row of DWARF to a rule.

use gimli::{CfaRule, RegisterRule, UnwindContextStorage, UnwindExpression, UnwindSection, UnwindTableRow};
use profiler_common::unwind::rule::{KEPT, LOST, Rule, UNCHANGED, base, cfa};

use super::expression::{Bytes, Value};
use super::limits;
use super::machine::Machine;
use super::omission::Omission;

/// Room for the rows under construction, in place.
pub(super) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(gimli::Register, RegisterRule<usize>); limits::REGISTER_RULES];
    type Stack = Box<[UnwindTableRow<usize, Self>; 4]>;
}

/// Where one register of the caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where it was.
    Unchanged,
    /// It has none: the frame is the outermost.
    Undefined,
    /// In memory, in bytes from the CFA.
    AtCfa(i64),
    /// In memory, in bytes from a register of the callee.
    AtRegister { register: u16, offset: i64 },
    /// Not in memory: it is the CFA plus some bytes.
    Cfa(i64),
    /// Anywhere else.
    Elsewhere,
}

/// The registers a rule tells about.
struct Places {
    kept: [Place; KEPT],
    stack_pointer: Place,
    return_address: Place,
}

/// The rule of a row, and how many kept registers it had to give up; why not, if rules cannot state it.
pub(super) fn translate<'a>(
    row: &UnwindTableRow<usize, Storage>,
    section: &impl UnwindSection<Bytes<'a>>,
    machine: &Machine,
) -> Result<(Rule, usize), Omission> {
    let places = Places::read(row, section, machine);
    if places.return_address == Place::Undefined {
        return Ok((Rule::OUTERMOST, 0));
    }
    let cfa = evaluate_cfa(row.cfa(), section).ok_or(Omission::CfaExpression)?;
    let mut rule = cfa_rule(cfa, machine)?;
    if !matches!(places.stack_pointer, Place::Unchanged | Place::Cfa(0)) {
        return Err(Omission::StackPointer);
    }
    if let Some(at) = machine.return_address_at
        && distance_from_cfa(places.return_address, cfa) != Some(at)
    {
        return Err(Omission::ReturnAddress);
    }
    let lost = places.save(&mut rule, cfa);
    Ok((rule, lost))
}

fn evaluate_cfa<'a>(rule: &CfaRule<usize>, section: &impl UnwindSection<Bytes<'a>>) -> Option<Value> {
    match rule {
        CfaRule::RegisterAndOffset { register, offset } => {
            Some(Value::Register { register: register.0, offset: *offset })
        }
        CfaRule::Expression(expression) => evaluate(expression, section),
    }
}

fn evaluate<'a>(expression: &UnwindExpression<usize>, section: &impl UnwindSection<Bytes<'a>>) -> Option<Value> {
    Value::of(expression.get(section).ok()?)
}

/// A rule with nothing saved.
fn cfa_rule(value: Value, machine: &Machine) -> Result<Rule, Omission> {
    let (register, offset, addend) = match value {
        Value::Register { register, offset } => (register, offset, None),
        Value::Word { register, offset, addend } => (register, offset, Some(addend)),
        Value::LinkageStub { from } if machine.is_x86_64() => {
            return Ok(Rule { offset: i32::from(from), ..Rule::new(cfa::LINKAGE_STUB) });
        }
        _ => return Err(Omission::CfaExpression),
    };
    let on_stack = register == machine.stack_pointer;
    let kind = match (on_stack, addend.is_some()) {
        (true, false) => cfa::STACK,
        (true, true) => cfa::AT_STACK,
        (false, false) => cfa::REGISTER,
        (false, true) => cfa::AT_REGISTER,
    };
    let register = if on_stack { 0 } else { machine.rule_register(register).ok_or(Omission::CfaRegister)? };
    let offset = i32::try_from(offset).map_err(|_| Omission::CfaOffset)?;
    let addend = i16::try_from(addend.unwrap_or(0)).map_err(|_| Omission::CfaOffset)?;
    Ok(Rule { register, offset, addend, ..Rule::new(kind) })
}

impl Places {
    fn read<'a>(
        row: &UnwindTableRow<usize, Storage>,
        section: &impl UnwindSection<Bytes<'a>>,
        machine: &Machine,
    ) -> Self {
        let mut places =
            Self { kept: [Place::Unchanged; KEPT], stack_pointer: Place::Unchanged, return_address: Place::Unchanged };
        for (register, rule) in row.registers() {
            if register.0 == machine.stack_pointer {
                places.stack_pointer = Place::of(rule, section);
            } else if let Some(slot) = machine.kept_slot(register.0) {
                places.kept[slot] = Place::of(rule, section);
            }
            if register.0 == machine.return_address {
                places.return_address = Place::of(rule, section);
            }
        }
        places
    }

    /// Writes the places of kept registers into a rule; returns how many it cannot state.
    fn save(&self, rule: &mut Rule, cfa: Value) -> usize {
        if let Value::Word { register, .. } = cfa
            && self.kept.iter().any(|place| matches!(place, Place::AtRegister { register: of, .. } if *of == register))
        {
            rule.base = base::REGISTER;
        }
        for (saved, place) in rule.saved.iter_mut().zip(self.kept) {
            *saved = match place {
                Place::Unchanged | Place::Undefined => UNCHANGED,
                _ if rule.base == base::CFA => words(distance_from_cfa(place, cfa)),
                _ => words(distance_from_word(place, cfa)),
            };
        }
        rule.saved.iter().filter(|saved| **saved == LOST).count()
    }
}

impl Place {
    fn of<'a>(rule: &RegisterRule<usize>, section: &impl UnwindSection<Bytes<'a>>) -> Self {
        match rule {
            RegisterRule::SameValue => Self::Unchanged,
            RegisterRule::Undefined => Self::Undefined,
            RegisterRule::Offset(offset) => Self::AtCfa(*offset),
            RegisterRule::ValOffset(offset) => Self::Cfa(*offset),
            RegisterRule::Expression(expression) => match evaluate(expression, section) {
                Some(Value::Register { register, offset }) => Self::AtRegister { register, offset },
                _ => Self::Elsewhere,
            },
            _ => Self::Elsewhere,
        }
    }
}

/// How far a place is from the CFA, in bytes.
fn distance_from_cfa(place: Place, cfa: Value) -> Option<i64> {
    match (place, cfa) {
        (Place::AtCfa(offset), _) => Some(offset),
        (Place::AtRegister { register, offset }, Value::Register { register: of, offset: from }) if register == of => {
            offset.checked_sub(from)
        }
        _ => None,
    }
}

/// How far a place is from the word that holds the CFA, in bytes.
fn distance_from_word(place: Place, cfa: Value) -> Option<i64> {
    match (place, cfa) {
        (Place::AtRegister { register, offset }, Value::Word { register: of, offset: from, .. }) if register == of => {
            offset.checked_sub(from)
        }
        _ => None,
    }
}

/// A distance in words, as rules state it.
fn words(distance: Option<i64>) -> i16 {
    let words = distance.filter(|bytes| bytes % 8 == 0).and_then(|bytes| i16::try_from(bytes / 8).ok());
    words.filter(|words| *words != UNCHANGED).unwrap_or(LOST)
}
