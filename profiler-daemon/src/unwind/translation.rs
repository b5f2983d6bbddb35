//! From a row to a rule.

use profiler_common::unwind::rule::{LOST, Rule, UNCHANGED, base, cfa};

use super::expression::Value;
use super::machine::Machine;
use super::omission::Omission;
use super::row::{Place, Row};

/// The rule of a row, and how many kept registers it had to give up; why not, if rules cannot state it.
pub(super) fn translate(row: &Row, machine: &Machine) -> Result<(Rule, usize), Omission> {
    if row.return_address == Place::Undefined {
        return Ok((Rule::OUTERMOST, 0));
    }
    let cfa = row.cfa.ok_or(Omission::CfaExpression)?;
    let mut rule = cfa_rule(cfa, machine)?;
    if !matches!(row.stack_pointer, Place::Unchanged | Place::Cfa(0)) {
        return Err(Omission::StackPointer);
    }
    if let Some(at) = machine.return_address_at
        && distance_from_cfa(row.return_address, cfa) != Some(at)
    {
        return Err(Omission::ReturnAddress);
    }
    let lost = save_kept(row, cfa, &mut rule);
    Ok((rule, lost))
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

/// Writes the places of kept registers into a rule; returns how many it cannot state.
fn save_kept(row: &Row, cfa: Value, rule: &mut Rule) -> usize {
    if let Value::Word { register, .. } = cfa
        && row.kept.iter().any(|place| matches!(place, Place::AtRegister { register: of, .. } if *of == register))
    {
        rule.base = base::REGISTER;
    }
    for (saved, place) in rule.saved.iter_mut().zip(row.kept) {
        *saved = match place {
            Place::Unchanged | Place::Undefined => UNCHANGED,
            _ if rule.base == base::CFA => words(distance_from_cfa(place, cfa)),
            _ => words(distance_from_word(place, cfa)),
        };
    }
    rule.saved.iter().filter(|saved| **saved == LOST).count()
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
