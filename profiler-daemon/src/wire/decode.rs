//! Bytes of the rings into events. The only place where the kernel half's words are translated.

use std::net::Ipv6Addr;

use profiler_common::limits::LEAF_FRAMES;
use profiler_common::python::{self, ENTRY_WORDS};
use profiler_common::record::{
    self, CodeMapped, FLAG_COLLECTING, FLAG_IDLE, FLAG_INTERPRETER_LOCK, FLAG_INVOLUNTARY, FLAG_KERNEL_THREAD,
    FLAG_STACK_POINTERS, FLAG_THROTTLED, Identity, LIFECYCLE_EXEC, LIFECYCLE_EXIT, Lifecycle, STACK_OFF_CPU,
    STACK_ON_CPU, Snapshot, StackHeader, account, subject,
};
use profiler_common::unwind::stop;
use profiler_common::wait_lengths::Lengths;
use profiler_common::waker::{self, context};

use super::asyncio::{decode_tasks, split_tasks};
use super::python::{count_frames, place_frames};
use super::{
    Account, AccountId, Ended, Executed, LifecycleEvent, MappedCode, OffCpuCause, Room, StackEvent, StackKind,
    UserStack, WaitInProgress,
};
use crate::profile::{
    Ending, ImageId, JavaCode, JavaFrame, ProcessId, PythonEnding, Subject, ThreadId, WaitClass, WaitDetail,
    WaitReason, Waker,
};

/// Decodes one record of the ring of stacks; `None` if it is malformed. Frames that do not lie in order are put in order
/// in `room`, and Python frames in the places of the native frames that ran them.
pub fn decode_stack<'a>(bytes: &'a [u8], room: &'a mut Room) -> Option<StackEvent<'a>> {
    let (header, rest) = bytes.split_at_checked(size_of::<StackHeader>())?;
    let header: StackHeader = bytemuck::try_pod_read_unaligned(header).ok()?;
    let stride = if header.flags & FLAG_STACK_POINTERS != 0 { 2 } else { 1 };
    let (kernel, user) = (usize::from(header.kernel_frames), usize::from(header.user_frames) * stride);
    let python = usize::from(header.python_entries) * ENTRY_WORDS;
    let words: &[u64] = bytemuck::try_cast_slice(rest.get(..(kernel + user + python) * 8)?).ok()?;
    let (addresses, python) = words.split_at(kernel + user);
    let user = UserStack {
        ending: decode_ending(header.stop),
        has_gap: header.walked > header.user_frames,
        ..put_in_order(&header, &addresses[kernel..], stride, &mut room.words, &mut room.java)
    };
    let (python, tasks) = split_tasks(python);
    place_frames(python, &user, &mut room.python);
    decode_tasks(tasks, header.await_stop, &mut room.tasks);
    Some(StackEvent {
        process: process_of(&header.identity),
        thread: thread_of(&header.identity),
        image: image_of(&header.identity),
        at_ns: header.at_ns,
        kind: decode_kind(&header)?,
        weight_ns: header.weight_ns,
        period_ns: header.period_ns,
        kernel: &addresses[..kernel],
        user,
        java: &room.java,
        python: &room.python,
        python_thread: (header.python_thread != 0).then_some(header.python_thread),
        collecting: header.flags & FLAG_COLLECTING != 0,
        code_ns: header.code_ns,
        reason: decode_reason(&header.reason, WaitClass::from_number(header.class)),
        lock_holder: (header.flags & FLAG_INTERPRETER_LOCK != 0).then_some(header.lock_holder),
        python_ending: decode_python_ending(header.python_stop),
        tasks: &room.tasks,
        task_frames: count_frames(python, header.task_entries.into()),
    })
}

/// Why a walk of Python frames ended, by its number.
pub fn decode_python_ending(reason: u8) -> PythonEnding {
    match reason {
        python::stop::NONE => PythonEnding::NoInterpreter,
        python::stop::COMPLETE => PythonEnding::Complete,
        python::stop::NO_STATE => PythonEnding::NoState,
        python::stop::DEPTH => PythonEnding::TooDeep,
        python::stop::NOT_A_FRAME => PythonEnding::NotAFrame,
        python::stop::TOO_MANY_THREADS => PythonEnding::TooManyThreads,
        _ => PythonEnding::Unreadable,
    }
}

/// The frames leaf first. Of a deep stack, the outermost frames are recorded in a circle.
fn put_in_order<'a>(
    header: &StackHeader,
    words: &'a [u64],
    stride: usize,
    room: &'a mut Vec<u64>,
    java: &mut Vec<JavaFrame>,
) -> UserStack<'a> {
    let (kept, walked) = (usize::from(header.user_frames), usize::from(header.walked));
    java.clear();
    if stride == 1 && walked <= kept {
        return UserStack { addresses: words, ..UserStack::default() };
    }
    room.clear();
    let places = (0..kept).map(|at| match at.checked_sub(LEAF_FRAMES) {
        Some(beyond) if walked > kept && kept > LEAF_FRAMES => {
            LEAF_FRAMES + (walked - LEAF_FRAMES + beyond) % (kept - LEAF_FRAMES)
        }
        _ => at,
    });
    room.extend(places.clone().map(|place| words[place * stride]));
    if stride == 2 {
        room.extend(places.map(|place| words[place * stride + 1]));
        let (addresses, beside) = room.split_at_mut(kept);
        split_java(addresses, beside, java);
    }
    let (addresses, stack_pointers) = room.split_at(kept);
    UserStack { addresses, stack_pointers, ..UserStack::default() }
}

/// Takes frames of a virtual machine from among the others: what lies beside their addresses is no stack pointer. They get that of
/// the frame before, so that stack pointers stay in order.
fn split_java(addresses: &[u64], beside: &mut [u64], java: &mut Vec<JavaFrame>) {
    let mut stack_pointer = 0;
    for (place, (pc, beside)) in addresses.iter().zip(beside).enumerate() {
        match JavaCode::unpack(*beside) {
            Some(code) => {
                java.push(JavaFrame { place: place as u16, pc: *pc, code });
                *beside = stack_pointer;
            }
            None => stack_pointer = *beside,
        }
    }
}

/// Why a walk of a user stack ended, by its number.
pub fn decode_ending(reason: u8) -> Ending {
    match reason {
        stop::COMPLETE => Ending::Complete,
        stop::DEPTH => Ending::TooDeep,
        stop::UNMAPPED => Ending::Unmapped,
        stop::NO_RULE => Ending::NoRule,
        stop::UNSUPPORTED => Ending::UnsupportedRule,
        stop::REGISTER_LOST => Ending::RegisterLost,
        stop::NO_PROGRESS => Ending::NoProgress,
        stop::UNPREPARED => Ending::Unprepared,
        _ => Ending::Unreadable,
    }
}

fn decode_kind(header: &StackHeader) -> Option<StackKind> {
    match header.kind {
        STACK_ON_CPU => Some(StackKind::OnCpu),
        STACK_OFF_CPU => Some(StackKind::OffCpu {
            duration_ns: header.duration_ns,
            runq_ns: header.runq_ns,
            cause: decode_cause(header),
            idle: header.flags & FLAG_IDLE != 0,
        }),
        _ => None,
    }
}

fn decode_cause(header: &StackHeader) -> OffCpuCause {
    if header.flags & FLAG_THROTTLED != 0 {
        OffCpuCause::Throttled
    } else if header.flags & FLAG_INVOLUNTARY != 0 {
        OffCpuCause::Runnable
    } else {
        OffCpuCause::Blocked(WaitClass::from_number(header.class))
    }
}

/// The subject is that of the system call. In a page fault, in the kernel's own locks, and while it is stopped, a thread waits
/// within the call for something else; and for a disk, only if it is a file.
fn decode_reason(reason: &record::WaitReason, class: WaitClass) -> WaitReason {
    let address = Ipv6Addr::from(reason.address).to_canonical();
    let subject = match reason.subject {
        subject::ADDRESS => Some(Subject::Address((address, reason.port).into())),
        subject::PORT => Some(Subject::Port(reason.port)),
        subject::PROCESS => Some(Subject::Process(reason.number)),
        subject::FILE => Some(Subject::File { inode: reason.object, descriptor: reason.number }),
        subject::LOCK => Some(Subject::Lock(reason.object)),
        _ => None,
    };
    let subject = subject.filter(|subject| match class {
        WaitClass::Fault | WaitClass::Kernel | WaitClass::Other => false,
        WaitClass::Disk => matches!(subject, Subject::File { .. }),
        _ => true,
    });
    WaitReason { detail: WaitDetail::from_number(reason.detail), subject, waker: decode_waker(reason) }
}

/// Who ended a wait. A thread during whose call packets arrived is told only if it was at the other end of the connection.
fn decode_waker(reason: &record::WaitReason) -> Option<Waker> {
    let word = waker::Waker::unpack(reason.waker);
    let thread = |over_network| Waker::Thread { pid: word.tgid, tid: word.pid, over_network };
    match word.context {
        context::THREAD => Some(thread(false)),
        context::CONNECTION if waker::are_ends(reason.waker_ports, reason.ports) => Some(thread(true)),
        context::CONNECTION | context::SOFT_INTERRUPT => Some(Waker::SoftInterrupt),
        context::TIMER => Some(Waker::Timer),
        context::INTERRUPT => Some(Waker::Interrupt),
        context::NMI => Some(Waker::Nmi),
        context::IDLE => Some(Waker::Idle),
        _ => None,
    }
}

/// Decodes one record of the ring of lifecycles; `None` if it is malformed.
pub fn decode_lifecycle(bytes: &[u8]) -> Option<LifecycleEvent> {
    if bytes.len() == size_of::<CodeMapped>() {
        let CodeMapped { identity, at_ns, before_ns, start, end } = bytemuck::try_pod_read_unaligned(bytes).ok()?;
        return Some(LifecycleEvent::Mapped(MappedCode { image: image_of(&identity), at_ns, before_ns, start, end }));
    }
    let record: Lifecycle = bytemuck::try_pod_read_unaligned(bytes.get(..size_of::<Lifecycle>())?).ok()?;
    if record.kind == LIFECYCLE_EXEC {
        return Some(LifecycleEvent::Executed(Executed { process: process_of(&record.identity), at_ns: record.at_ns }));
    }
    let account = Account {
        id: account_of(&record.identity),
        process: process_of(&record.identity),
        image: image_of(&record.identity),
        at_ns: record.at_ns,
        totals: record.totals,
        lengths: Box::new(record.lengths),
        thread_name: text(&record.thread_name),
        process_name: text(&record.process_name),
        kernel: record.flags & u32::from(FLAG_KERNEL_THREAD) != 0,
        wait: None,
    };
    Some(LifecycleEvent::Ended(Box::new(Ended { account, exited: record.kind == LIFECYCLE_EXIT })))
}

/// Translates one snapshot of the pass over all tasks.
pub fn decode_snapshot(record: &Snapshot, lengths: &Lengths) -> Account {
    Account {
        id: account_of(&record.identity),
        process: process_of(&record.identity),
        image: image_of(&record.identity),
        at_ns: record.at_ns,
        totals: record.totals,
        lengths: Box::new(*lengths),
        thread_name: text(&record.thread_name),
        process_name: text(&record.process_name),
        kernel: record.flags & u32::from(FLAG_KERNEL_THREAD) != 0,
        wait: decode_wait(record),
    }
}

fn decode_wait(record: &Snapshot) -> Option<WaitInProgress> {
    let waits_for = u8::try_from(record.waits_for).ok().filter(|account| account::is_wait(*account))?;
    let class = WaitClass::from_number(waits_for);
    (record.waits_since_ns != 0).then_some(WaitInProgress {
        class,
        since_ns: record.waits_since_ns,
        thread_pointer: record.thread_pointer,
        reason: decode_reason(&record.reason, class),
        kept: record.kept,
    })
}

fn process_of(identity: &record::Identity) -> ProcessId {
    ProcessId { pid: identity.tgid, start_ns: identity.process_start_ns }
}

fn thread_of(identity: &Identity) -> ThreadId {
    ThreadId { tid: identity.pid, start_ns: identity.thread_start_ns }
}

fn image_of(identity: &Identity) -> ImageId {
    ImageId { process: process_of(identity), exec_ns: identity.exec_ns }
}

fn account_of(identity: &Identity) -> AccountId {
    AccountId { thread: thread_of(identity), attach_ns: identity.attach_ns }
}

/// A NUL-padded name; bytes that are not UTF-8 are replaced.
fn text(name: &[u8; 16]) -> String {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use profiler_common::limits::USER_FRAMES;

    use super::*;

    fn header() -> StackHeader {
        StackHeader {
            identity: Identity {
                tgid: 7,
                pid: 8,
                process_start_ns: 70,
                thread_start_ns: 80,
                exec_ns: 0,
                attach_ns: 90,
            },
            at_ns: 100,
            duration_ns: 20,
            runq_ns: 5,
            weight_ns: 1000,
            period_ns: 1000,
            python_thread: 0,
            lock_holder: 0,
            code_ns: 0,
            reason: record::WaitReason::NONE,
            kernel_frames: 1,
            user_frames: 2,
            kind: STACK_OFF_CPU,
            class: profiler_common::wait_class::NET,
            flags: FLAG_IDLE,
            stop: stop::COMPLETE,
            walked: 2,
            python_entries: 0,
            python_stop: 0,
            await_stop: 0,
            task_entries: 0,
        }
    }

    /// The record in an aligned buffer, as the ring has it.
    fn record(header: &StackHeader, addresses: &[u64]) -> Vec<u64> {
        let mut words: Vec<u64> =
            bytemuck::bytes_of(header).chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
        words.extend(addresses);
        words
    }

    #[test]
    fn a_stack_is_split_into_its_kernel_and_user_part() {
        let words = record(&header(), &[1, 2, 3]);
        let mut room = Room::default();
        let event = decode_stack(bytemuck::cast_slice(&words), &mut room).unwrap();
        assert_eq!((event.kernel, event.user.addresses), (&[1][..], &[2, 3][..]));
        assert!(!event.user.has_gap && event.user.ending == Ending::Complete);
        assert_eq!(event.process.pid, 7);
        assert_eq!(
            event.kind,
            StackKind::OffCpu { duration_ns: 20, runq_ns: 5, cause: OffCpuCause::Blocked(WaitClass::Net), idle: true }
        );
    }

    #[test]
    fn the_outermost_frames_of_a_deep_stack_are_put_in_order() {
        let walked = 300u64;
        let mut frames: Vec<u64> = (0..LEAF_FRAMES as u64).collect();
        frames.resize(USER_FRAMES, 0);
        for frame in LEAF_FRAMES as u64..walked {
            frames[LEAF_FRAMES + (frame as usize - LEAF_FRAMES) % (USER_FRAMES - LEAF_FRAMES)] = frame;
        }
        let user_frames = USER_FRAMES as u16;
        let header =
            StackHeader { kernel_frames: 0, user_frames, walked: walked as u16, stop: stop::DEPTH, ..header() };
        let (words, mut room) = (record(&header, &frames), Room::default());
        let user = decode_stack(bytemuck::cast_slice(&words), &mut room).unwrap().user;
        assert!(user.has_gap && user.ending == Ending::TooDeep);
        let root: Vec<u64> = (walked - (USER_FRAMES - LEAF_FRAMES) as u64..walked).collect();
        assert_eq!(user.addresses[LEAF_FRAMES - 1], LEAF_FRAMES as u64 - 1);
        assert_eq!(user.addresses[LEAF_FRAMES..], root);
    }

    #[test]
    fn frames_of_a_virtual_machine_are_told_by_what_stands_beside_their_addresses() {
        let header =
            StackHeader { kernel_frames: 0, user_frames: 4, walked: 4, flags: FLAG_STACK_POINTERS, ..header() };
        let (compiled, interpreted) =
            (JavaCode::Compiled { compile_id: 9 }, JavaCode::Interpreted { method: 0x7f00_0000_1008, bytecode: 3 });
        let frames = [10, 0x100, 20, compiled.pack(), 30, interpreted.pack(), 40, 0x400];
        let (words, mut room) = (record(&header, &frames), Room::default());
        let event = decode_stack(bytemuck::cast_slice(&words), &mut room).unwrap();
        assert_eq!(event.user.addresses, [10, 20, 30, 40]);
        assert_eq!(event.user.stack_pointers, [0x100, 0x100, 0x100, 0x400], "in order, as markers of Python need");
        let java = [JavaFrame { place: 1, pc: 20, code: compiled }, JavaFrame { place: 2, pc: 30, code: interpreted }];
        assert_eq!(event.java, java);
        // Without stack pointers a word is an address, whatever it looks like.
        let header = StackHeader { user_frames: 2, walked: 2, flags: 0, ..header };
        let words = record(&header, &[10, compiled.pack()]);
        assert!(decode_stack(bytemuck::cast_slice(&words), &mut room).unwrap().java.is_empty());
    }

    #[test]
    fn stack_pointers_are_told_apart_from_addresses() {
        let header = StackHeader { flags: FLAG_STACK_POINTERS, kernel_frames: 0, ..header() };
        let (words, mut room) = (record(&header, &[1, 10, 2, 20]), Room::default());
        let user = decode_stack(bytemuck::cast_slice(&words), &mut room).unwrap().user;
        assert_eq!((user.addresses, user.stack_pointers), (&[1, 2][..], &[10, 20][..]));
    }

    #[test]
    fn a_stack_that_claims_more_frames_than_it_has_is_refused() {
        let words = record(&header(), &[1, 2]);
        assert_eq!(decode_stack(bytemuck::cast_slice(&words), &mut Room::default()), None);
    }

    #[test]
    fn what_a_wait_is_for_is_told_in_the_words_of_reports() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 5];
        let detail = profiler_common::wait_detail::NET_RECEIVE;
        let none = record::WaitReason::NONE;
        let peer = record::WaitReason { address: mapped, port: 6379, subject: subject::ADDRESS, detail, ..none };
        let reason = decode_reason(&peer, WaitClass::Net);
        assert_eq!(reason.subject, Some(Subject::Address("10.0.0.5:6379".parse().unwrap())));
        assert_eq!(reason.detail.map(|detail| detail.label()).as_deref(), Some("net/receive"));
        let unknown = record::WaitReason { subject: 99, detail: 255, ..none };
        for told in [none, unknown] {
            assert_eq!(decode_reason(&told, WaitClass::Net), WaitReason::default());
        }
    }

    #[test]
    fn what_a_call_is_for_is_not_what_a_thread_waits_for_in_a_fault_or_a_lock_of_the_kernel_or_while_it_is_stopped() {
        let none = record::WaitReason::NONE;
        let port = record::WaitReason { port: 80, subject: subject::PORT, ..none };
        let file = record::WaitReason { object: 5, number: 3, subject: subject::FILE, ..none };
        let is_for = |reason, class| decode_reason(reason, class).subject.is_some();
        for class in [WaitClass::Fault, WaitClass::Kernel, WaitClass::Other] {
            assert!(!is_for(&port, class) && !is_for(&file, class), "{class:?}");
        }
        assert!(is_for(&file, WaitClass::Disk) && !is_for(&port, WaitClass::Disk), "`sendfile` reads the file");
        assert!(is_for(&file, WaitClass::Lock) && is_for(&port, WaitClass::Net) && is_for(&port, WaitClass::Poll));
    }

    #[test]
    fn mapped_code_is_told_from_other_records_by_its_size() {
        let record = CodeMapped { identity: header().identity, at_ns: 5, before_ns: 4, start: 0x1000, end: 0x3000 };
        let image = ImageId { process: ProcessId { pid: 7, start_ns: 70 }, exec_ns: 0 };
        let mapped = MappedCode { image, at_ns: 5, before_ns: 4, start: 0x1000, end: 0x3000 };
        assert_eq!(decode_lifecycle(bytemuck::bytes_of(&record)), Some(LifecycleEvent::Mapped(mapped)));
        let words = record_with_code_ns(9);
        assert_eq!(decode_stack(bytemuck::cast_slice(&words), &mut Room::default()).unwrap().code_ns, 9);
    }

    fn record_with_code_ns(code_ns: u64) -> Vec<u64> {
        record(&StackHeader { code_ns, ..header() }, &[1, 2, 3])
    }

    #[test]
    fn a_thread_is_told_as_the_waker_only_if_it_woke_itself_or_is_at_the_other_end_of_the_connection() {
        let none = record::WaitReason::NONE;
        let thread = |over_network| Some(Waker::Thread { pid: 7, tid: 8, over_network });
        let (own, other) = (waker::pack_ports(50_000, 80), waker::pack_ports(80, 50_000));
        let connection = waker::pack_thread(context::CONNECTION, 7, 8);
        for (word, waker_ports, ports, expected) in [
            (0, 0, 0, None),
            (waker::pack_thread(context::THREAD, 7, 8), 0, 0, thread(false)),
            (connection, other, own, thread(true)),
            (connection, own, own, Some(Waker::SoftInterrupt)),
            (connection, other, 0, Some(Waker::SoftInterrupt)),
            (waker::pack_context(context::SOFT_INTERRUPT), 0, own, Some(Waker::SoftInterrupt)),
            (waker::pack_context(context::TIMER), 0, 0, Some(Waker::Timer)),
            (waker::pack_context(context::UNKNOWN), 0, 0, None),
            (waker::pack_context(15), 0, 0, None),
        ] {
            let reason = record::WaitReason { waker: word, waker_ports, ports, ..none };
            assert_eq!(decode_reason(&reason, WaitClass::Net).waker, expected, "{word:#x}");
        }
    }

    #[test]
    fn a_record_of_an_unknown_kind_is_refused() {
        let words = record(&StackHeader { kind: 99, ..header() }, &[1, 2, 3]);
        assert_eq!(decode_stack(bytemuck::cast_slice(&words), &mut Room::default()), None);
        assert_eq!(decode_lifecycle(&[0; 10]), None);
    }
}
