//! Stacks and what they tell.

use super::*;
use crate::profile::Reason;

/// A frame written `py|NAME@FILE`, `c|NAME@MODULE`, `c|?@MODULE` for one without a name, `i|NAME` for one inlined, or `j|METHOD`.
fn frame(text: &str) -> Arc<Frame> {
    let (kind, rest) = text.split_once('|').unwrap();
    let (name, place) = rest.split_once('@').map_or((rest, None), |(name, place)| (name, Some(place.into())));
    let name = if name == "?" { Name::Unknown(Reason::NoSymbol) } else { Name::Known(name.into()) };
    let frame = Frame { name, ..Frame::marker("") };
    Arc::new(match kind {
        "py" => Frame { kind: FrameKind::Python, file: place, ..frame },
        "j" => Frame { kind: FrameKind::Jvm, ..frame },
        "i" => Frame { kind: FrameKind::Native, inlined: true, ..frame },
        "k" => Frame { kind: FrameKind::Kernel, ..frame },
        _ => Frame { kind: FrameKind::Native, module: place, ..frame },
    })
}

fn told(stack: &str, kernel: Option<WaitDetail>) -> Option<String> {
    let frames: Vec<_> = stack.split_whitespace().map(frame).collect();
    detail_of(&frames, kernel).map(WaitDetail::label)
}

fn assert_told(stack: &str, expected: &str) {
    assert_eq!(told(stack, None).as_deref(), Some(expected), "{stack}");
}

#[test]
fn waits_of_python_are_told() {
    const LIB: &str = "/usr/lib/python3.12";
    for (stack, expected) in [
        (
            format!("c|sem_wait py|Condition.wait@{LIB}/threading.py py|Queue.get@{LIB}/queue.py py|f@/a.py"),
            "sync/idle worker",
        ),
        (format!("c|sem_wait py|wait@{LIB}/threading.py py|get@{LIB}/queue.py"), "sync/idle worker"),
        (format!("c|sem_wait py|_worker@{LIB}/concurrent/futures/thread.py"), "sync/idle worker"),
        (format!("c|sem_wait py|Condition.wait@{LIB}/threading.py py|f@/a.py"), "sync/condition"),
        (format!("c|sem_wait py|Thread.join@{LIB}/threading.py py|f@/a.py"), "sync/join"),
        (
            format!(
                "c|epoll_wait py|EpollSelector.select@{LIB}/selectors.py py|BaseEventLoop._run_once@{LIB}/asyncio/base_events.py"
            ),
            "poll/asyncio loop",
        ),
        ("c|sem_clockwait c|PyThread_acquire_lock_timed py|f@/a.py".to_owned(), "lock/threading lock"),
        ("c|?@libc.so.6 c|sem_wait@libc.so.6 c|?@python3.14 py|f@/a.py".to_owned(), "lock/threading lock"),
        ("c|_PySemaphore_Wait c|?@python3.14 py|f@/a.py".to_owned(), "lock/threading lock"),
        ("c|sem_wait c|?@python3.12 py|wait@/mine_threading.py".to_owned(), "lock/threading lock"),
        ("c|sem_wait c|?@python3.12 py|Queue.get@/app/queue.py".to_owned(), "lock/threading lock"),
        ("c|sem_wait c|run@my_extension.so py|f@/a.py".to_owned(), "sync/semaphore"),
    ] {
        assert_told(&stack, expected);
    }
}

#[test]
fn waits_of_the_c_library_are_told() {
    for (stack, expected) in [
        ("k|schedule c|?@libc.so.6 c|pthread_cond_wait@libc.so.6 c|main", "sync/condition"),
        ("c|__futex_abstimed_wait_common@libc.so.6 c|___pthread_cond_timedwait64@libc.so.6 c|f", "sync/condition"),
        ("c|__new_sem_wait_slow64.constprop.0@libc.so.6 c|main", "sync/semaphore"),
        ("c|?@libc.so.6 c|sem_wait@libc.so.6 c|main", "sync/semaphore"),
        ("c|?@libc.so.6 c|pthread_barrier_wait@libc.so.6 c|main", "sync/barrier"),
        ("c|?@libc.so.6 c|___pthread_rwlock_wrlock@libc.so.6 c|main", "lock/rwlock"),
        ("c|__pthread_clockjoin_ex@libc.so.6 c|std::thread::join()", "sync/join"),
        ("c|__lll_lock_wait@libc.so.6 c|___pthread_mutex_lock@libc.so.6 c|main", "lock/mutex"),
        ("c|__lll_lock_wait@libc.so.6 c|__pthread_mutex_cond_lock c|___pthread_cond_wait@libc.so.6 c|f", "lock/mutex"),
        ("c|syscall@libc.so.6 c|std::__atomic_futex_unsigned_base::_M_futex_wait_until(unsigned_int*)", "sync/future"),
        (
            "c|?@libc.so.6 c|pthread_cond_wait@libc.so.6 c|uv_cond_wait c|?@libuv.so.1.0.0 c|?@libc.so.6",
            "sync/idle worker",
        ),
        ("c|?@libgomp.so.1.0.0 c|?@libgomp.so.1.0.0 c|?@libc.so.6 c|?@libc.so.6", "sync/idle worker"),
    ] {
        assert_told(stack, expected);
    }
}

#[test]
fn waits_of_rust_are_told() {
    for (stack, expected) in [
        ("c|syscall@libc.so.6 c|std::sys::sync::mutex::futex::Mutex::lock_contended c|f", "lock/mutex"),
        ("c|syscall@libc.so.6 c|std::sys::sync::rwlock::futex::RwLock::read_contended c|f", "lock/rwlock"),
        (
            "c|std::sys::pal::unix::futex::futex_wait c|std::sys::sync::condvar::futex::Condvar::wait c|f",
            "sync/condition",
        ),
        (
            "c|<std::sys::sync::condvar::futex::Condvar>::wait c|<std::sync::nonpoison::condvar::Condvar>::wait_while c|<std::sync::barrier::Barrier>::wait c|f",
            "sync/barrier",
        ),
        ("c|<std::thread::thread::Thread>::park c|std::sync::mpmc::context::Context::wait_until c|f", "sync/channel"),
        (
            "c|parking_lot_core::parking_lot::park c|parking_lot::condvar::Condvar::wait_until_internal \
             c|tokio::runtime::scheduler::multi_thread::park::Parker::park",
            "sync/idle worker",
        ),
        (
            "c|std::sys::sync::condvar::futex::Condvar::wait i|wait<()> i|park_condvar i|park \
             c|tokio::runtime::scheduler::multi_thread::worker::Context::park_internal",
            "sync/idle worker",
        ),
        ("c|std::sys::sync::condvar::futex::Condvar::wait c|rayon_core::sleep::Sleep::sleep", "sync/idle worker"),
    ] {
        assert_told(stack, expected);
    }
}

#[test]
fn waits_of_go_are_told() {
    for (stack, expected) in [
        (
            "c|runtime.futex.abi0 c|runtime.futexsleep c|runtime.notesleep c|runtime.mPark c|runtime.stopm",
            "sync/idle worker",
        ),
        ("c|runtime.futex.abi0 c|runtime.futexsleep c|runtime.lock2 c|runtime.chansend", "lock/runtime lock"),
    ] {
        assert_told(stack, expected);
    }
}

#[test]
fn waits_of_java_are_told() {
    const EVENT: &str = "c|?@libc.so.6 c|pthread_cond_wait@libc.so.6 c|os::PlatformEvent::park()@libjvm.so";
    const PARK: &str = "c|pthread_cond_wait@libc.so.6 c|Parker::park(bool,long)@libjvm.so c|Unsafe_Park@libjvm.so";
    const LOCKS: &str = "j|jdk.internal.misc.Unsafe.park j|java.util.concurrent.locks.LockSupport.park";
    const QUEUED: &str = "java.util.concurrent.locks.AbstractQueuedSynchronizer";
    for (stack, expected) in [
        (
            format!("{EVENT} c|ObjectMonitor::EnterI(JavaThread*) c|ObjectMonitor::enter(JavaThread*) j|F.f"),
            "lock/monitor",
        ),
        (format!("{EVENT} c|ObjectMonitor::wait(long,bool,JavaThread*) c|JVM_MonitorWait j|F.f"), "sync/condition"),
        (
            format!(
                "{EVENT} c|ObjectMonitor::ReenterI(JavaThread*) c|ObjectMonitor::wait(long) j|java.lang.Object.wait"
            ),
            "lock/monitor",
        ),
        (
            format!(
                "{EVENT} c|ObjectMonitor::wait(long) c|JVM_MonitorWait j|java.lang.Object.wait j|java.lang.Thread.join"
            ),
            "sync/join",
        ),
        (format!("{EVENT} c|JavaThread::sleep(long) c|JVM_Sleep j|java.lang.Thread.sleep"), "sleep/thread sleep"),
        (format!("{PARK} c|?"), "sync/park"),
        (format!("{PARK} {LOCKS} j|F.f"), "sync/park"),
        (
            format!("{PARK} {LOCKS} j|{QUEUED}.acquire j|java.util.concurrent.locks.ReentrantLock.lock j|F.f"),
            "lock/mutex",
        ),
        (format!("{PARK} {LOCKS} j|{QUEUED}.acquire j|{QUEUED}$ConditionObject.await j|F.f"), "lock/mutex"),
        (format!("{PARK} {LOCKS} j|{QUEUED}$ConditionObject.await j|F.f"), "sync/condition"),
        (
            format!(
                "{PARK} {LOCKS} j|{QUEUED}$ConditionObject.await j|java.util.concurrent.ArrayBlockingQueue.take j|F.f"
            ),
            "sync/idle worker",
        ),
        (
            format!(
                "{PARK} {LOCKS} j|{QUEUED}$ConditionObject.await j|java.util.concurrent.LinkedBlockingQueue.take \
                 j|java.util.concurrent.ThreadPoolExecutor.getTask"
            ),
            "sync/idle worker",
        ),
        (
            format!("c|?@libc.so.6 c|?@libjvm.so c|?@libjvm.so {LOCKS} j|java.util.concurrent.FutureTask.get"),
            "sync/future",
        ),
        (
            "c|pthread_cond_wait c|PlatformMonitor::wait(long) c|Monitor::wait(long) c|CompileQueue::get()".to_owned(),
            "sync/idle worker",
        ),
    ] {
        assert_told(&stack, expected);
    }
}

#[test]
fn the_work_of_a_worker_is_not_its_waiting_for_work() {
    for (stack, expected) in [
        ("c|pthread_cond_wait c|f@app c|worker c|?@libc.so.6", "sync/condition"),
        ("c|pthread_mutex_lock c|f@app c|?@libgomp.so.1 c|?@libc.so.6", "lock/mutex"),
        ("c|std::sys::sync::condvar::futex::Condvar::wait i|f c|tokio::runtime::task::raw::poll", "sync/condition"),
        (
            "c|Unsafe_Park j|jdk.internal.misc.Unsafe.park j|My.task j|java.util.concurrent.ThreadPoolExecutor.runWorker",
            "sync/park",
        ),
    ] {
        assert_told(stack, expected);
    }
}

#[test]
fn a_wait_no_rule_knows_is_left_to_the_kernel() {
    for stack in
        ["c|read py|f@/a.py", "c|f@app c|sem_wait c|main", "py|f@/a.py c|sem_wait", "c|?@app c|pthread_cond_wait", ""]
    {
        assert_eq!(told(stack, None), None, "{stack}");
    }
}

#[test]
fn a_lock_taken_again_after_a_condition_stays_a_lock() {
    let mutex = WaitDetail { class: WaitClass::Lock, name: "mutex", idle: false };
    assert_eq!(told("c|?@libc.so.6 c|pthread_cond_wait c|main", Some(mutex)), None);
    // There the number that says so for the other library means nothing.
    let musl = "c|?@ld-musl-x86_64.so.1 c|pthread_cond_wait@ld-musl-x86_64.so.1 c|main";
    assert_eq!(told(musl, Some(mutex)).as_deref(), Some("sync/condition"));
}

/// A stack that has what a step names first.
fn simplest(step: &str, words: &BTreeMap<&str, &str>) -> String {
    let step = fill_in(step, words);
    let first = step.split('|').next().unwrap();
    let (module, function) = first.split_once('!').unwrap_or(("app", first));
    let function = if function == "*" { "?" } else { function };
    format!("c|{}@{}", function.replace('*', ""), module.replace('*', ""))
}

#[test]
fn no_rule_is_hidden_by_one_before_it() {
    let files = read_files();
    let words: BTreeMap<&str, &str> =
        files.iter().flat_map(|file| &file.words).map(|(word, is)| (*word, *is)).collect();
    assert_eq!(words.len(), files.iter().map(|file| file.words.len()).sum::<usize>(), "a word means one thing");
    for (rule, at) in files.iter().flat_map(|file| &file.rules).zip(0..) {
        let frames = rule.frames.iter().map(|step| simplest(step, &words));
        let python = rule.python.iter().map(|function| function.split_once(':').unwrap());
        let python = python.map(|(file, function)| format!("py|{function}@/usr/lib/python3.12/{file}"));
        let stack: Vec<String> = frames.chain(python).collect();
        let stack: Vec<_> = stack.iter().map(|text| frame(text)).collect();
        let innermost = RULES.innermost(&stack);
        let first = RULES.rules.iter().position(|rule| rule.fits(&innermost, None));
        assert_eq!(first, Some(at), "{rule:?}");
    }
}
