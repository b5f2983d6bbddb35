//! What `/proc/PID/task/TID` tells of a thread: what it asked of the kernel, and whether it ran since.

use std::io;

use profiler_common::classify::state;

use super::world::{ThreadFile, World};

/// A thread asleep in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asleep {
    /// The system call it is in; `None` if something else brought it into the kernel, such as a page fault.
    pub call: Option<SystemCall>,
    /// Its stack pointer.
    pub stack_pointer: u64,
    /// The instruction it goes on with.
    pub instruction: u64,
    /// What it ran until then.
    pub ran: Ran,
}

/// The state of a thread as `/proc/PID/task/TID/stat` has it: one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter(pub u8);

impl Letter {
    /// Reads the text of `stat`; the name before it may hold anything.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let close = text.iter().rposition(|byte| *byte == b')')?;
        text.get(close + 2).map(|letter| Self(*letter))
    }

    /// Whether it runs or waits for a CPU.
    pub fn is_runnable(self) -> bool {
        self.0 == b'R'
    }

    /// Whether it has ended, and its process not.
    pub fn is_ended(self) -> bool {
        matches!(self.0, b'Z' | b'X')
    }

    /// The bits of the scheduler's state that tell why it waits.
    pub fn bits(self) -> u32 {
        match self.0 {
            b'D' => state::UNINTERRUPTIBLE,
            b'I' => state::UNINTERRUPTIBLE | state::NO_LOAD,
            b'T' | b't' | b'P' => state::HELD,
            _ => state::INTERRUPTIBLE,
        }
    }
}

/// How long and how often a thread ran so far: it did not run where neither grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ran {
    /// Time on a CPU; of a thread that runs up to a timer tick old.
    pub cpu_ns: u64,
    /// How often it got a CPU.
    pub turns: u64,
}

/// A system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SystemCall {
    /// Its number.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// Why it is not known where a thread sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAsleep {
    /// It does not sleep: it runs, or waits for a CPU.
    #[error("it runs: nothing stops it, so that its stack cannot be read")]
    Runs,
    /// It sleeps, but never for as long as reading it takes.
    #[error("it went on while its stack was read")]
    WentOn,
    /// There is no such thread any more.
    #[error("it ended")]
    Ended,
    /// Whoever asks may not trace the process.
    #[error("no permission to trace the process: it takes its owner or CAP_SYS_PTRACE")]
    Denied,
    /// The kernel does not tell.
    #[error("this kernel does not tell where threads sleep")]
    Untold,
}

impl Asleep {
    /// Where a thread sleeps now.
    pub fn read(pid: u32, tid: u32, world: &dyn World) -> Result<Self, NotAsleep> {
        let ran = Ran::read(pid, tid, world)?;
        let text = world.read_thread(pid, tid, ThreadFile::Syscall).map_err(|error| reason_of(&error))?;
        Self::parse(&text, ran)
    }

    /// Whether the thread has slept ever since this was read: what was read of its stack meanwhile is whole.
    pub fn is_unchanged(&self, pid: u32, tid: u32, world: &dyn World) -> bool {
        Self::read(pid, tid, world).as_ref() == Ok(self)
    }

    /// Reads the text of `syscall`: a number, six arguments, stack pointer and instruction; or -1 and the last two; or a word.
    fn parse(text: &[u8], ran: Ran) -> Result<Self, NotAsleep> {
        let text = std::str::from_utf8(text).map_err(|_| NotAsleep::Untold)?.trim();
        if text == "running" {
            return Err(NotAsleep::Runs);
        }
        let mut words = text.split_ascii_whitespace();
        let number = words.next().ok_or(NotAsleep::Ended)?;
        let values: Option<Vec<u64>> = words.map(parse_hex).collect();
        match (number, values.as_deref()) {
            ("-1", Some(&[stack_pointer, instruction])) => Ok(Self { call: None, stack_pointer, instruction, ran }),
            (number, Some(&[a, b, c, d, e, f, stack_pointer, instruction])) => {
                let number = number.parse().map_err(|_| NotAsleep::Untold)?;
                let call = Some(SystemCall { number, arguments: [a, b, c, d, e, f] });
                Ok(Self { call, stack_pointer, instruction, ran })
            }
            _ => Err(NotAsleep::Untold),
        }
    }
}

impl Ran {
    /// Reads the first and the third number of `schedstat`.
    pub fn read(pid: u32, tid: u32, world: &dyn World) -> Result<Self, NotAsleep> {
        let text = world.read_thread(pid, tid, ThreadFile::Schedstat).map_err(|error| reason_of(&error))?;
        let text = String::from_utf8_lossy(&text);
        let number = |at| text.split_ascii_whitespace().nth(at)?.parse().ok();
        let (Some(cpu_ns), Some(turns)) = (number(0), number(2)) else { return Err(NotAsleep::Untold) };
        Ok(Self { cpu_ns, turns })
    }
}

fn reason_of(error: &io::Error) -> NotAsleep {
    match error.kind() {
        io::ErrorKind::NotFound => NotAsleep::Ended,
        io::ErrorKind::PermissionDenied => NotAsleep::Denied,
        _ => NotAsleep::Untold,
    }
}

fn parse_hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{FixtureProcess, FixtureWorld};
    use super::*;

    const RAN: Ran = Ran { cpu_ns: 100, turns: 5 };

    fn parse(text: &str) -> Result<Asleep, NotAsleep> {
        Asleep::parse(text.as_bytes(), RAN)
    }

    #[test]
    fn a_system_call_has_arguments_and_a_fault_has_none() {
        let call = SystemCall { number: 202, arguments: [1, 0x189, 3, 4, 5, 0xffff_ffff] };
        let found = parse("202 0x1 0x189 0x3 0x4 0x5 0xffffffff 0x7ffd10 0x7f11\n");
        assert_eq!(found, Ok(Asleep { call: Some(call), stack_pointer: 0x7ffd10, instruction: 0x7f11, ran: RAN }));
        let fault = Asleep { call: None, stack_pointer: 0x7ffd10, instruction: 0x7f11, ran: RAN };
        assert_eq!(parse("-1 0x7ffd10 0x7f11\n"), Ok(fault));
    }

    #[test]
    fn a_thread_that_runs_or_ended_has_no_place() {
        assert_eq!([parse("running\n"), parse("")], [Err(NotAsleep::Runs), Err(NotAsleep::Ended)]);
        for text in ["202 0x1", "-1 0x1", "x 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8", "-1 1 2", "\u{ff}"] {
            assert_eq!(parse(text), Err(NotAsleep::Untold), "{text}");
        }
    }

    #[test]
    fn the_letter_of_a_state_stands_behind_a_name_that_may_look_like_one() {
        assert_eq!(Letter::parse(b"8 (a) S (b) D 1 8"), Some(Letter(b'D')));
        assert!(Letter(b'R').is_runnable() && Letter(b'Z').is_ended() && !Letter(b'S').is_ended());
        assert_eq!([Letter(b'S').bits(), Letter(b'T').bits() & 4], [1, 4]);
        assert_eq!(Letter::parse(b"8 (a"), None);
    }

    #[test]
    fn a_thread_that_had_a_turn_meanwhile_has_changed_though_it_sleeps_in_the_same_place() {
        let world = FixtureWorld::default();
        let with_turns = |turns: u64| {
            let syscall = (ThreadFile::Syscall, "-1 0x10 0x20".to_owned());
            let files = [syscall, (ThreadFile::Schedstat, format!("100 200 {turns}"))].into();
            world.insert(7, FixtureProcess { threads: [(8, files)].into(), ..FixtureProcess::default() });
        };
        with_turns(3);
        let asleep = Asleep::read(7, 8, &world).unwrap();
        assert!(asleep.is_unchanged(7, 8, &world));
        with_turns(4);
        assert!(!asleep.is_unchanged(7, 8, &world));
        assert_eq!(Asleep::read(7, 9, &world), Err(NotAsleep::Ended));
    }
}
