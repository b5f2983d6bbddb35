"""Threads in known states, each for ever, and what the interpreter itself says about their stacks.

    reference.py [DUMP]

Runs on Python 3.8 to 3.15 unchanged. Prints `ready PID` once every thread is in its state. After each line on its input
it prints a line of JSON: for each thread its native id, its name, its frames, leaf first, as `[file, line, function]`, and
what `faulthandler` said at that moment. SIGUSR1 writes the latter to DUMP. It ends with its input.

A waiting thread is woken every few milliseconds and waits again at the same line, since a wait has a stack when it ends. A
computing thread has all of its leaf's code on few lines, listed as `leaf_lines`. `# AT NAME` marks the line at which the
thread of that name has arrived.
"""

import asyncio
import faulthandler
import functools
import json
import mmap
import os
import queue
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import zlib

TICK = 0.05
# Those who compute must not keep the others from getting into their states.
SWITCH = 0.0005
DEPTH = 300
HERE = sys._getframe().f_code.co_filename


# --- computing with the GIL


def spin():
    value = 1
    while True: value = (value * 31 + 7) % 65521  # AT spin


def contend():
    value = 1
    while True: value = (value * 17 + 3) % 65521  # AT contend


def compute_over_lines():
    value = 1
    while True:
        value = (value * 31 + 7) % 65521
        for step in (1, 2, 3):
            if value & step:
                value ^= step
            else:
                value += step


def spin_over_lines():
    compute_over_lines()  # AT spin_over_lines


def compare(left, right):
    for _ in range(2000): left - right  # AT sort
    return left - right


def sort():
    key = functools.cmp_to_key(compare)
    while True:
        sorted([3, 1, 2, 5, 4], key=key)


class Number:
    """Added up by `sum`, in C, through a slot."""

    def __radd__(self, left):
        for _ in range(2000): left + 1  # AT slot
        return left


def slot():
    numbers = [Number()] * 10
    while True: sum(numbers)


# --- Python below C below Python, waiting


def waiting_compare(left, right):
    while True: time.sleep(TICK)  # AT waiting_sort


def waiting_sort():
    sorted([2, 1], key=functools.cmp_to_key(waiting_compare))


class Dynamic:
    def __getattr__(self, name):
        while True: time.sleep(TICK)  # AT waiting_slot


def waiting_slot():
    Dynamic().missing


def inner_generator():
    while True:
        time.sleep(TICK)  # AT generators
        yield 1


def middle_generator():
    yield from inner_generator()


def outer_generator():
    for value in middle_generator():
        yield value


def generators():
    for _ in outer_generator():
        pass


async def inner_coroutine():
    while True: time.sleep(TICK)  # AT coroutines


async def middle_coroutine():
    await inner_coroutine()


async def as_task():
    await asyncio.ensure_future(middle_coroutine())


def coroutines():
    asyncio.new_event_loop().run_until_complete(as_task())


async def sleep_in_loop():
    while True:
        await asyncio.sleep(TICK)


def idle_loop():
    asyncio.new_event_loop().run_until_complete(sleep_in_loop())  # AT idle_loop


def traced(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


class Outer:
    class Inner:
        @staticmethod
        @traced
        def decorated(depth):
            def nested():
                pause = lambda: time.sleep(TICK)
                while True: pause()  # AT qualified

            return nested()


def qualified():
    Outer.Inner.decorated(1)


class Größe:
    def läuft(self):
        def 计算():
            while True: time.sleep(TICK)  # AT names

        def 𠀀():
            return 计算()

        return 𠀀()


def names():
    Größe().läuft()


def expression():
    return (
        1 +
        2 * time.sleep(
            TICK
        ) if TICK > 1 else [
            time.sleep(  # AT expression
                each
            )
            for each in endless(TICK)
        ]
    )


def endless(value):
    while True:
        yield value


def recurse(depth):
    if depth:
        return recurse(depth - 1)
    while True: time.sleep(TICK)  # AT recursion


def recursion():
    recurse(DEPTH)


EXECUTED = """
import time
class Executed:
    def run(self):
        while True: time.sleep(0.05)
Executed().run()
"""


def executed():
    exec(compile(EXECUTED, "<string>", "exec"), {})  # AT executed


# --- waiting for others


def sleep():
    while True: time.sleep(TICK)  # AT sleep


def lock(held):
    while True: held.acquire()  # AT lock


def lock_with_timeout(held):
    while True: held.acquire(timeout=60)  # AT lock_with_timeout


def worker(tasks):
    while True: tasks.get()  # AT worker


def condition(event):
    while True: event.wait(TICK)  # AT condition


def receive(peer):
    while True: peer.recv(1)  # AT receive


def receive_with_timeout(peer):
    while True: peer.recv(1)  # AT receive_with_timeout


# --- C code without the GIL


def compress(data):
    while True: zlib.compress(data)  # AT compress


def query(database):
    while True: database.execute("SELECT sum(a.number * b.number) FROM numbers a, numbers b").fetchall()  # AT query


def read_disk(descriptor, page):
    while True: os.preadv(descriptor, [page], 0)  # AT read_disk


def make_database():
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE numbers (number)")
    database.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(200)])
    return database


def open_uncached():
    """A file read from the disk itself where its file system can do that, and a page to read into."""
    descriptor, path = tempfile.mkstemp()
    os.write(descriptor, bytes(65536))
    os.fsync(descriptor)
    try:
        uncached = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        uncached = os.open(path, os.O_RDONLY)
    os.close(descriptor)
    os.unlink(path)
    return uncached, mmap.mmap(-1, 65536)


# --- the threads


class Metronome:
    """Wakes those who wait for others."""

    def __init__(self):
        self.locks = [threading.Lock(), threading.Lock()]
        self.tasks = queue.Queue()
        self.pairs = [socket.socketpair(), socket.socketpair()]
        self.pairs[1][0].settimeout(60)
        for held in self.locks:
            held.acquire()

    def metronome(self):
        while True:
            time.sleep(TICK)  # AT metronome
            for held in self.locks:
                if held.locked():
                    held.release()
            if self.tasks.empty():
                self.tasks.put(None)
            for _, peer in self.pairs:
                peer.send(b"!")


def states():
    """What each thread runs: a function named as the thread, and its arguments."""
    metronome = Metronome()
    alone = [waiting_sort, waiting_slot, generators, coroutines, idle_loop, qualified, names, expression, recursion]
    alone += [executed, sleep, metronome.metronome]
    found = {function.__name__: (function, ()) for function in alone}
    found["lock"] = (lock, (metronome.locks[0],))
    found["lock_with_timeout"] = (lock_with_timeout, (metronome.locks[1],))
    found["worker"] = (worker, (metronome.tasks,))
    found["condition"] = (condition, (threading.Event(),))
    found["receive"] = (receive, (metronome.pairs[0][0],))
    found["receive_with_timeout"] = (receive_with_timeout, (metronome.pairs[1][0],))
    found["compress"] = (compress, (os.urandom(1 << 20),))
    found["query"] = (query, (make_database(),))
    found["read_disk"] = (read_disk, open_uncached())
    found.update({function.__name__: (function, ()) for function in [spin, contend, spin_over_lines, sort, slot]})
    return found


def marked_lines():
    with open(HERE, encoding="utf-8") as source:
        marks = [(line.rpartition("# AT ")[2].strip(), number) for number, line in enumerate(source, 1) if "# AT " in line]
    return dict(marks)


class Thread(threading.Thread):
    """A thread whose native id is known once it runs."""

    def __init__(self, name, function, arguments):
        super().__init__(name=name, daemon=True)
        self.function, self.arguments = function, arguments

    def run(self):
        self.function(*self.arguments)


def frames_of(frame):
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append([code.co_filename, frame.f_lineno, getattr(code, "co_qualname", code.co_name)])
        frame = frame.f_back
    return frames


def has_arrived(thread, line):
    frame = sys._current_frames().get(thread.ident)
    return [HERE, line] in [frame[:2] for frame in frames_of(frame)]


def await_states(threads):
    lines = marked_lines()
    for thread in threads:
        while not has_arrived(thread, lines[thread.name]):
            time.sleep(0.001)


def lines_of(code):
    if hasattr(code, "co_lines"):
        return sorted({line for _, _, line in code.co_lines() if line})
    import dis

    return sorted({line for _, line in dis.findlinestarts(code)})


def leaf_lines():
    """The lines a computing thread may be at, all in its leaf, where there is more than one."""
    code = compute_over_lines.__code__
    return {"spin_over_lines": [line for line in lines_of(code) if line > code.co_firstlineno + 1]}


def view(threads, files):
    """Frames and a dump, once per file. Nothing in here gives the GIL away, and this thread stays on its line."""
    views = []
    sys.setswitchinterval(0.05)
    for file in files:
        frames = sys._current_frames()
        views.append([frames_of(frames.get(thread.ident)) for thread in threads])
        faulthandler.dump_traceback(file, all_threads=True)
    sys.setswitchinterval(SWITCH)
    return views


def view_of_one_moment(threads):
    """The frames of all threads and faulthandler's text: nothing moved between two views that are the same."""
    while True:
        with tempfile.TemporaryFile("w+") as first, tempfile.TemporaryFile("w+") as second:
            views = view(threads, [first.fileno(), second.fileno()])
            texts = []
            for file in (first, second):
                file.seek(0)
                texts.append(file.read())
        if texts[0] == texts[1] and views[0] == views[1]:
            return views[0], texts[0]


def described(threads):
    stacks, text = view_of_one_moment(threads)
    rows, lines = [], leaf_lines()
    for thread, frames in zip(threads, stacks):
        row = {"name": thread.name, "native_id": thread.native_id, "ident": "0x%016x" % thread.ident, "frames": frames}
        row["leaf_lines"] = lines.get(thread.name, [])
        rows.append(row)
    return {"threads": rows, "faulthandler": text}


def main():
    if len(sys.argv) > 1:
        faulthandler.register(signal.SIGUSR1, open(sys.argv[1], "w"), all_threads=True)
    sys.setswitchinterval(SWITCH)
    threads = [Thread(name, *state) for name, state in states().items()]
    for thread in threads:
        thread.start()
    await_states(threads)
    print("ready", os.getpid(), flush=True)
    for _ in sys.stdin:
        print(json.dumps(described(threads)), flush=True)
    os._exit(0)


main()
