//! Waits of Rust's standard library: one case per run, in a thread of its own that keeps the books of its waits.
//!
//!   waits-rs CASE [FOLDER]
//!
//! Prints `ready PID`, waits for a line on standard input, runs the case in a thread and prints a line of JSON. `done` follows.
//! It ends with its input.
use std::fs::File;
use std::io::{stdin, Read};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const CASE: Duration = Duration::from_millis(1200);
/// How long the other side of a wait lets it wait.
const PAUSE: Duration = Duration::from_millis(15);

const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_THREAD_CPUTIME_ID: i32 = 3;

extern "C" {
    fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
    fn gettid() -> i32;
}

fn clock_ns(clock: i32) -> i64 {
    let mut time = [0; 2];
    unsafe { clock_gettime(clock, &mut time) };
    time[0] * 1_000_000_000 + time[1]
}

/// What the thread measures of its waits: the time in which it neither computes nor queues.
struct Books {
    schedstat: File,
    begun: Instant,
    wait_ns: i64,
    waits: u64,
}

impl Books {
    fn new() -> Self {
        let schedstat = File::open("/proc/thread-self/schedstat").expect("the kernel keeps schedstat");
        Self { schedstat, begun: Instant::now(), wait_ns: 0, waits: 0 }
    }

    fn runs(&self) -> bool {
        self.begun.elapsed() < CASE
    }

    fn run_delay_ns(&self) -> i64 {
        let mut text = [0; 128];
        let read = self.schedstat.read_at(&mut text, 0).expect("schedstat can be read");
        let text = std::str::from_utf8(&text[..read]).expect("schedstat is text");
        text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("the second number is the run delay")
    }

    /// Read again if the thread lost its CPU in between.
    fn blocked_ns(&self) -> i64 {
        loop {
            let before = self.run_delay_ns();
            let blocked = clock_ns(CLOCK_MONOTONIC) - clock_ns(CLOCK_THREAD_CPUTIME_ID) - before;
            if self.run_delay_ns() == before {
                return blocked;
            }
        }
    }

    fn wait<T>(&mut self, call: impl FnOnce() -> T) -> T {
        self.wait_ns -= self.blocked_ns();
        let result = call();
        self.wait_ns += self.blocked_ns();
        self.waits += 1;
        result
    }
}

fn forever(mut step: impl FnMut() + Send + 'static) -> thread::Thread {
    thread::spawn(move || loop {
        step();
    })
    .thread()
    .clone()
}

/// Two locks, of which the other thread holds one at any time: whoever asks for both in turn always waits.
fn mutex(books: &mut Books) {
    let locks = Arc::new([Mutex::new(()), Mutex::new(())]);
    let theirs = locks.clone();
    let (sender, held) = channel();
    thread::spawn(move || {
        let mut holds = theirs[0].lock().unwrap();
        sender.send(()).unwrap();
        for next in [1, 0].into_iter().cycle() {
            thread::sleep(PAUSE);
            holds = {
                let other = theirs[next].lock().unwrap();
                drop(holds);
                other
            };
        }
    });
    held.recv().unwrap();
    while books.runs() {
        locks.iter().for_each(|lock| drop(books.wait(|| lock.lock().unwrap())));
    }
}

fn rwlock(books: &mut Books) {
    let locks = Arc::new([RwLock::new(()), RwLock::new(())]);
    let theirs = locks.clone();
    let (sender, held) = channel();
    thread::spawn(move || {
        let mut holds = theirs[0].write().unwrap();
        sender.send(()).unwrap();
        for next in [1, 0].into_iter().cycle() {
            thread::sleep(PAUSE);
            holds = {
                let other = theirs[next].write().unwrap();
                drop(holds);
                other
            };
        }
    });
    held.recv().unwrap();
    while books.runs() {
        locks.iter().for_each(|lock| drop(books.wait(|| lock.read().unwrap())));
    }
}

fn condition(books: &mut Books) {
    let both = Arc::new((Mutex::new(()), Condvar::new()));
    let theirs = both.clone();
    forever(move || {
        thread::sleep(PAUSE);
        let _held = theirs.0.lock().unwrap();
        theirs.1.notify_one();
    });
    let mut held = both.0.lock().unwrap();
    while books.runs() {
        held = books.wait(|| both.1.wait(held).unwrap());
    }
}

fn park(books: &mut Books) {
    let this = thread::current();
    forever(move || {
        thread::sleep(PAUSE);
        this.unpark();
    });
    while books.runs() {
        books.wait(thread::park);
    }
}

fn receive(books: &mut Books) {
    let (sender, receiver) = channel();
    forever(move || {
        thread::sleep(PAUSE);
        let _ = sender.send(());
    });
    while books.runs() {
        books.wait(|| receiver.recv().unwrap());
    }
}

fn barrier(books: &mut Books) {
    let barrier = Arc::new(Barrier::new(2));
    let theirs = barrier.clone();
    forever(move || {
        thread::sleep(PAUSE);
        theirs.wait();
    });
    while books.runs() {
        books.wait(|| barrier.wait());
    }
}

fn join(books: &mut Books) {
    while books.runs() {
        let short = thread::spawn(|| thread::sleep(PAUSE));
        books.wait(|| short.join().unwrap());
    }
}

fn run_case(case: fn(&mut Books)) {
    let mut books = Books::new();
    case(&mut books);
    let (thread, life_ns) = (unsafe { gettid() }, books.begun.elapsed().as_nanos());
    let Books { wait_ns, waits, .. } = books;
    println!("{{\"thread\":{thread},\"life_ns\":{life_ns},\"wait_ns\":{wait_ns},\"waits\":{waits},\"subject\":\"\"}}");
}

/// The end of the input ends the program.
fn await_line() {
    let mut byte = [0];
    while byte[0] != b'\n' {
        if stdin().read(&mut byte).unwrap_or(0) != 1 {
            std::process::exit(0);
        }
    }
}

fn main() {
    let case = match std::env::args().nth(1).as_deref() {
        Some("rust_mutex") => mutex,
        Some("rust_rwlock") => rwlock,
        Some("rust_condition") => condition,
        Some("rust_park") => park,
        Some("rust_channel") => receive,
        Some("rust_barrier") => barrier,
        Some("rust_join") => join,
        _ => panic!("no such case"),
    };
    println!("ready {}", std::process::id());
    await_line();
    thread::spawn(move || run_case(case)).join().unwrap();
    println!("done");
    await_line();
}
