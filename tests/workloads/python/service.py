"""A service whose lines are known, and which measures by itself where its time went.

Prints `ready PID`. After each line on its input every phase has a round, one after the other, each in threads of its own,
and a line of JSON says what each thread measured of it: its native id, the phase, the function and the line, nanoseconds
of CPU and of wall time, and how often the line ran. It ends with its input and prints `done`.

`# LINE: NAME` marks the line of a phase. Phases that this machine has nothing for are left out and named in `left_out`.
Workers of `parked` wait all the time that the others work.
"""

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
    value, count = 1, 0
    while clock.runs():
        for _ in range(20000): value = (value * 31 + 7) % 65521  # LINE: bytecode
        count += 20000
    return count


def gil(clock):
    value, count = 1, 0
    while clock.runs():
        for _ in range(20000): value = (value * 17 + 3) % 65521  # LINE: gil
        count += 20000
    return count


def compute_numpy(clock, matrix):
    count = 0
    while clock.runs():
        matrix @ matrix  # LINE: numpy
        count += 1
    return count


def compress(clock):
    count = 0
    while clock.runs():
        zlib.compress(DATA)  # LINE: zlib
        count += 1
    return count


def ask(clock, url):
    count = 0
    while clock.runs():
        urllib.request.urlopen(url).read()  # LINE: http
        count += 1
    return count


def ask_with_timeout(clock, url):
    count = 0
    while clock.runs():
        urllib.request.urlopen(url, timeout=30).read()  # LINE: http_timeout
        count += 1
    return count


def query(clock, database):
    count = 0
    while clock.runs():
        database.execute("SELECT sum(a.number * b.number) FROM numbers a, numbers b").fetchall()  # LINE: sqlite
        count += 1
    return count


def read_disk(clock, descriptor, page):
    count = 0
    while clock.runs():
        os.preadv(descriptor, [page], count % 64 * PAGE)  # LINE: disk
        count += 1
    return count


def sleep(clock):
    count = 0
    while clock.runs():
        time.sleep(0.02)  # LINE: sleep
        count += 1
    return count


def hold(clock, held):
    count = 0
    while clock.runs():
        with held:
            time.sleep(0.02)  # LINE: hold
        count += 1
    return count


def lock(clock, held):
    count = 0
    while clock.runs():
        held.acquire()  # LINE: lock
        held.release()
        count += 1
    return count


def parked(_clock, tasks):
    tasks.get()  # LINE: parked
    return 1


class Clock:
    """The end of a round."""

    def __init__(self):
        self.end = time.perf_counter() + SECONDS

    def runs(self):
        return time.perf_counter() < self.end


class Measured(threading.Thread):
    """Runs one phase and keeps the books of its thread."""

    def __init__(self, phase, function, arguments, begun=None):
        super().__init__(name=phase)
        self.phase, self.function, self.arguments, self.begun = phase, function, arguments, begun
        self.row = None

    def run(self):
        if self.begun:
            self.begun.set()
        wall, cpu = time.perf_counter(), time.thread_time_ns()
        count = self.function(Clock(), *self.arguments)
        cpu, wall = time.thread_time_ns() - cpu, time.perf_counter() - wall
        self.row = {"phase": self.phase, "thread": threading.get_native_id(), "function": self.function.__name__}
        self.row.update(line=LINES[self.phase], cpu_ns=cpu, wall_ns=int(wall * 1e9), count=count)


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
    found += [[("sqlite", query, (make_database(),))]]
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
