"""A service whose lines are known, and which measures by itself where its time went.

Prints `ready PID`. After each line on its input every phase has a round, one after the other, each in threads of its own,
and a line of JSON says what each thread measured of it: its native id, the phase, the function and the line, nanoseconds
of CPU and of wall time from each beginning of the line to its end, and how often it ran. It ends with its input and prints
`done`.

`# LINE: NAME` marks the line of a phase. Phases that this machine has nothing for are left out and named in `left_out`.
Workers of `parked` wait all the time that the others work.
"""

import gc
import json
import mmap
import os
import queue
import signal
import socketserver
import sqlite3
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from http.server import BaseHTTPRequestHandler

os.environ["OPENBLAS_NUM_THREADS"] = "1"
try:
    import numpy
except ImportError:
    numpy = None

SECONDS = 1.0
DELAY = 0.05
PAGE = 65536
PARKED = 2
DATA = os.urandom(1 << 20)


def bytecode(clock):
    value = 1
    clock.begin()
    while clock.runs():
        for _ in range(20000): value = (value * 31 + 7) % 65521  # LINE: bytecode
    clock.end()


def gil(clock):
    value = 1
    clock.begin()
    while clock.runs():
        for _ in range(20000): value = (value * 17 + 3) % 65521  # LINE: gil
    clock.end()


def compute_numpy(clock, matrix):
    while clock.runs():
        clock.begin()
        matrix @ matrix  # LINE: numpy
        clock.end()


def compress(clock):
    while clock.runs():
        clock.begin()
        zlib.compress(DATA)  # LINE: zlib
        clock.end()


def ask(clock, url):
    while clock.runs():
        clock.begin()
        urllib.request.urlopen(url).read()  # LINE: http
        clock.end()


def ask_with_timeout(clock, url):
    while clock.runs():
        clock.begin()
        urllib.request.urlopen(url, timeout=30).read()  # LINE: http_timeout
        clock.end()


def query(clock, database):
    while clock.runs():
        clock.begin()
        database.execute("SELECT sum(a.number * b.number) FROM numbers a, numbers b").fetchall()  # LINE: sqlite
        clock.end()


def read_disk(clock, descriptor, page):
    while clock.runs():
        clock.begin()
        os.preadv(descriptor, [page], clock.count % 64 * PAGE)  # LINE: disk
        clock.end()


def collect(clock, _objects):
    while clock.runs():
        clock.begin()
        gc.collect()  # LINE: gc
        clock.end()


def sleep(clock):
    while clock.runs():
        clock.begin()
        time.sleep(0.02)  # LINE: sleep
        clock.end()


def hold(clock, held):
    """Holds the lock most of the time; how long it waits for it by itself is not asked."""
    while clock.runs():
        with held:
            clock.begin()
            time.sleep(0.02)  # LINE: hold
            clock.end()


def lock(clock, held):
    """Waits for the lock; sleeps before it asks again, so that the other has it by then."""
    while clock.runs():
        clock.begin()
        held.acquire()  # LINE: lock
        clock.end()
        held.release()
        time.sleep(0.001)


def parked(clock, tasks):
    clock.begin()
    tasks.get()  # LINE: parked
    clock.end()


class Clock:
    """The end of a round, and the books of its line.

    Asking for the CPU time is a system call, where the scheduler likes to take the CPU away: it is outside of the wall time,
    and lines that compute with the lock around the interpreter are measured as a whole, or most switches would be there.
    """

    def __init__(self):
        self.last = time.perf_counter() + SECONDS
        self.cpu_ns = self.wall_ns = self.count = 0

    def runs(self):
        return time.perf_counter() < self.last

    def begin(self):
        self.cpu_ns -= time.thread_time_ns()
        self.wall_ns -= time.perf_counter_ns()

    def end(self):
        self.wall_ns += time.perf_counter_ns()
        self.cpu_ns += time.thread_time_ns()
        self.count += 1


class Measured(threading.Thread):
    """Runs one phase and keeps the books of its thread."""

    def __init__(self, phase, function, arguments, begun=None):
        super().__init__(name=phase)
        self.phase, self.function, self.arguments, self.begun = phase, function, arguments, begun
        self.row = None

    def run(self):
        if self.begun:
            self.begun.set()
        clock = Clock()
        self.function(clock, *self.arguments)
        self.row = {"phase": self.phase, "thread": threading.get_native_id(), "function": self.function.__name__}
        self.row.update(line=LINES[self.phase], cpu_ns=clock.cpu_ns, wall_ns=clock.wall_ns, count=clock.count)


def marked_lines():
    with open(sys._getframe().f_code.co_filename, encoding="utf-8") as source:
        lines = [(line.rpartition("# LINE: ")[2].strip(), number) for number, line in enumerate(source, 1) if "# LINE: " in line]
    return dict(lines)


LINES = marked_lines()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(DELAY)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments):
        pass


def serve():
    """A server in a process of its own: its address and its pid."""
    server = socketserver.TCPServer(("127.0.0.1", 0), Answer)
    pid = os.fork()
    if pid == 0:
        server.serve_forever()
    address = "http://127.0.0.1:%d/" % server.server_address[1]
    server.socket.close()
    return address, pid


def make_database():
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE numbers (number)")
    database.executemany("INSERT INTO numbers VALUES (?)", [(number,) for number in range(300)])
    return database


def open_uncached():
    """A file read from the disk itself, and a page to read into; `None` where its file system cannot do that."""
    descriptor, path = tempfile.mkstemp()
    try:
        os.write(descriptor, bytes(64 * PAGE))
        os.fsync(descriptor)
        return os.open(path, os.O_RDONLY | os.O_DIRECT), mmap.mmap(-1, PAGE)
    except OSError:
        return None
    finally:
        os.close(descriptor)
        os.unlink(path)


def phases(url):
    """The threads of each phase, as the name of its line, a function and its arguments; and what is left out."""
    disk, held = open_uncached(), threading.Lock()
    found = [[("bytecode", bytecode, ())], [("zlib", compress, ())], [("sleep", sleep, ())]]
    found += [[("http", ask, (url,))], [("http_timeout", ask_with_timeout, (url,))]]
    found += [[("sqlite", query, (make_database(),))], [("gc", collect, ([[number] for number in range(200000)],))]]
    found += [[("hold", hold, (held,)), ("lock", lock, (held,))], [("gil", gil, ()), ("gil", gil, ())]]
    if disk:
        found.append([("disk", read_disk, disk)])
    if numpy:
        found.append([("numpy", compute_numpy, (numpy.ones((300, 300)),))])
    return found, [name for name, there in (("disk", disk), ("numpy", numpy)) if not there]


def run_together(threads):
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [thread.row for thread in threads]


def run_round(plan, tasks):
    begun = [threading.Event() for _ in range(PARKED)]
    workers = [Measured("parked", parked, (tasks,), event) for event in begun]
    for worker, event in zip(workers, begun):
        worker.start()
        event.wait()
    rows = [row for phase in plan for row in run_together([Measured(*thread) for thread in phase])]
    for _ in workers:
        tasks.put(None)
    for worker in workers:
        worker.join()
    return rows + [worker.row for worker in workers]


def main():
    url, server = serve()
    plan, left_out = phases(url)
    tasks = queue.Queue()
    print("ready", os.getpid(), flush=True)
    try:
        for number, _ in enumerate(sys.stdin, 1):
            rows = run_round(plan, tasks)
            print(json.dumps({"round": number, "rows": rows, "left_out": left_out}), flush=True)
    finally:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    print("done", flush=True)


main()
