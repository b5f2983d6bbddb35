//! Walks of the test's own stacks by tables made from its own files, against the walk of the C library.
//!
//! A thread notes its registers and a copy of its stack, and asks the C library for the callers at the same moment. The walk
//! that the kernel half does is then done on the copy.

#![cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
#![expect(unsafe_code, reason = "a thread's own registers, loaded objects and C callbacks cannot be had without")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::arch::asm;
use std::ffi::{CStr, c_int, c_void};
use std::fs::{self, File};
use std::hint::black_box;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{LazyLock, Mutex};
use std::thread;

use profiler_common::unwind::cursor::Cursor;
use profiler_common::unwind::rule::Rule;
use profiler_common::unwind::stop;
use profiler_common::unwind::walk::{Code, Process, step};
use profiler_common::unwind::x86_64::{R12, R13, R14, R15, RBP, RBX, X86_64};
use profiler_daemon::unwind::{Source, Table};

const DEPTH: usize = 200;
/// Bytes copied of a stack.
const STACK_BYTES: u64 = 256 << 10;

unsafe extern "C" {
    fn backtrace(buffer: *mut *mut c_void, size: c_int) -> c_int;
}

/// An object that is loaded into this process.
struct Module {
    bias: u64,
    code: Vec<Range<u64>>,
    table: Table,
}

static MODULES: LazyLock<Vec<Module>> = LazyLock::new(|| {
    let mut loaded: Vec<(String, u64, Vec<Range<u64>>)> = Vec::new();
    // SAFETY: the callback gets the pointer given here, while it is valid.
    unsafe { libc::dl_iterate_phdr(Some(note_module), (&raw mut loaded).cast()) };
    loaded.into_iter().filter_map(|(path, bias, code)| Module::open(&path, bias, code)).collect()
});

extern "C" fn note_module(info: *mut libc::dl_phdr_info, _: usize, loaded: *mut c_void) -> c_int {
    // SAFETY: the C library hands out a valid object, and the pointer it was given.
    let (info, loaded) = unsafe { (&*info, &mut *loaded.cast::<Vec<(String, u64, Vec<Range<u64>>)>>()) };
    // SAFETY: an object's name ends with a zero, and it has as many headers as it says.
    let (name, headers) =
        unsafe { (CStr::from_ptr(info.dlpi_name), std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into())) };
    let code = headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0);
    let start = |header: &libc::Elf64_Phdr| info.dlpi_addr + header.p_vaddr;
    let code = code.map(|header| start(header)..start(header) + header.p_memsz);
    loaded.push((name.to_string_lossy().into_owned(), info.dlpi_addr, code.collect()));
    0
}

impl Module {
    fn open(path: &str, bias: u64, code: Vec<Range<u64>>) -> Option<Self> {
        let file = File::open(if path.is_empty() { "/proc/self/exe" } else { path }).ok()?;
        Some(Self { bias, code, table: Source::open(&file).unwrap().build() })
    }
}

/// A thread as it was at one moment.
struct Snapshot {
    cursor: Cursor,
    stack_at: u64,
    stack: Vec<u8>,
    /// Return addresses as the C library finds them.
    callers: Vec<u64>,
}

impl Process for &Snapshot {
    fn find_code(&mut self, address: u64) -> Code {
        let holds = |module: &Module| module.code.iter().any(|range| range.contains(&address));
        let table = MODULES.iter().position(holds);
        table.map_or(Code::Nowhere, |at| Code::Tabled { table: at as u32, bias: MODULES[at].bias })
    }

    fn find_rule(&mut self, table: u32, address: u64) -> Rule {
        MODULES[table as usize].table.find(address)
    }

    fn read(&mut self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.stack_at)?).ok()?;
        self.stack.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
    }
}

impl Snapshot {
    /// The calling thread, here.
    #[inline(never)]
    fn take() -> Self {
        let mut registers = [0u64; 8];
        // SAFETY: writes to the array only, which has room for eight words.
        unsafe {
            asm!(
                "lea {pc}, [rip]",
                "mov [{to}], {pc}",
                "mov [{to} + 8], rsp",
                "mov [{to} + 16], rbp",
                "mov [{to} + 24], rbx",
                "mov [{to} + 32], r12",
                "mov [{to} + 40], r13",
                "mov [{to} + 48], r14",
                "mov [{to} + 56], r15",
                pc = out(reg) _,
                to = in(reg) registers.as_mut_ptr(),
            );
        }
        let [pc, sp, kept @ ..] = registers;
        let mut cursor = Cursor { pc, sp, ..Cursor::EMPTY };
        for (register, value) in [RBP, RBX, R12, R13, R14, R15].into_iter().zip(kept) {
            cursor.kept[usize::from(register)] = value;
        }
        let mut stack = vec![0; (end_of_mapping(sp) - sp).min(STACK_BYTES) as usize];
        File::open("/proc/self/mem").unwrap().read_exact_at(&mut stack, sp).unwrap();
        Self { cursor, stack_at: sp, stack, callers: find_callers() }
    }

    /// The return addresses the tables lead to, and why they end.
    fn walk(&self) -> (Vec<u64>, u8) {
        let (mut cursor, mut process, mut callers) = (self.cursor, self, Vec::new());
        loop {
            let code = process.find_code(cursor.lookup_address());
            match step::<X86_64>(&mut cursor, code, &mut process) {
                stop::NONE if callers.len() < DEPTH => callers.push(cursor.pc),
                stop => return (callers, stop),
            }
        }
    }

    fn check(&self, at_least: usize) {
        let (callers, stop) = self.walk();
        assert_eq!(hex(&callers), hex(&self.callers));
        assert_eq!(stop, stop::COMPLETE);
        assert!(callers.len() >= at_least, "{} callers", callers.len());
    }
}

/// The callers of [`Snapshot::take`], into which this is inlined.
#[inline(always)]
fn find_callers() -> Vec<u64> {
    let mut buffer = [std::ptr::null_mut(); DEPTH];
    // SAFETY: the buffer has as much room as it says.
    let count = unsafe { backtrace(buffer.as_mut_ptr(), DEPTH as c_int) };
    buffer[1..count as usize].iter().map(|address| *address as u64).collect()
}

fn hex(addresses: &[u64]) -> Vec<String> {
    addresses.iter().map(|address| format!("{address:x}")).collect()
}

fn end_of_mapping(address: u64) -> u64 {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let bounds = maps.lines().filter_map(|line| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    });
    bounds.into_iter().find(|(start, end)| (*start..*end).contains(&address)).unwrap().1
}

#[inline(never)]
fn recurse(depth: u32) -> Snapshot {
    let snapshot = if depth == 0 { Snapshot::take() } else { recurse(depth - 1) };
    black_box(snapshot)
}

#[test]
fn a_recursion_is_walked_to_the_begin_of_its_thread() {
    recurse(40).check(45);
    thread::spawn(|| recurse(3).check(8)).join().unwrap();
}

/// More than the stack is aligned to.
#[repr(align(128))]
struct Aligned([u8; 128]);

#[inline(never)]
fn with_aligned_frame(length: usize) -> Snapshot {
    let mut aligned = black_box(Aligned([1; 128]));
    aligned.0[length % 128] = 2;
    let snapshot = recurse(u32::from(black_box(&aligned).0[length % 128]));
    black_box(&aligned);
    snapshot
}

#[test]
fn a_realigned_frame_is_walked_through() {
    with_aligned_frame(5).check(8);
}

/// What callbacks of the C library saw.
static SEEN: Mutex<Vec<Snapshot>> = Mutex::new(Vec::new());

extern "C" fn compare(_: *const c_void, _: *const c_void) -> c_int {
    SEEN.lock().unwrap().push(Snapshot::take());
    0
}

extern "C" fn on_signal(_: c_int) {
    SEEN.lock().unwrap().push(recurse(2));
}

#[test]
fn callbacks_and_signal_handlers_are_walked_through() {
    let mut numbers = [2, 1];
    // SAFETY: the array has two elements of four bytes.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), 2, 4, Some(compare)) };
    let handler: extern "C" fn(c_int) = on_signal;
    // SAFETY: the handler interrupts nothing but this call, which holds no lock.
    unsafe {
        libc::signal(libc::SIGUSR1, handler as libc::sighandler_t);
        libc::raise(libc::SIGUSR1);
    }
    let seen = SEEN.lock().unwrap();
    assert!(seen.len() >= 2);
    seen.iter().for_each(|snapshot| snapshot.check(8));
}
