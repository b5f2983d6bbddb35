//! Python beside peers: one program that knows the cost of its lines, without a profiler and under each, and how far each is
//! from the truth, what it costs the program, and what it takes itself.

mod lines;
mod profiler;
mod program;
mod rounds;
mod table;

use anyhow::{Context, Result};

/// The argument that asks for this comparison; the path of an interpreter may follow, and a number of rounds.
pub(crate) const ARGUMENT: &str = "python";

/// Rounds, unless another number is asked for.
const ROUNDS: usize = 3;

/// Measures on the interpreter the first of `arguments` names, in as many rounds as the second says.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let named = arguments.first().map(String::as_str).filter(|path| !path.is_empty());
    let interpreter = named.unwrap_or("/usr/bin/python3.11");
    let rounds = match arguments.get(1) {
        Some(text) => text.parse().with_context(|| format!("`{text}` is no number of rounds"))?,
        None => ROUNDS,
    };
    println!("### Python, {interpreter}\n\n{}", table::of(&rounds::costs(interpreter, rounds)?));
    Ok(())
}
