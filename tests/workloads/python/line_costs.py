"""A Python program that knows what each of its lines costs: bytecode, C calls, waits, an expression of several lines, `finally`.

    line_costs.py TURNS BATCHES

Prints `ready PID`. For a line on its input it does its fixed work, so many batches, and prints one line: nanoseconds of CPU time and of time
for each line that is watched, by its number, and of all its work. The lines it waits on before and after are told, too:
they are no part of the work.
"""

import hashlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
import zlib

PAUSE = 0.01


def clock():
    return time.thread_time_ns(), time.perf_counter_ns()


class Books:
    """CPU time and time by the label at the end of a line, `# cost: LABEL`."""

    def __init__(self):
        self.sums = {}

    def add(self, label, begin, end):
        sums = self.sums.setdefault(label, [0, 0])
        sums[0] += end[0] - begin[0]
        sums[1] += end[1] - begin[1]


def bytecode(books, inputs):
    total, begin = 0, clock()
    for number in range(150_000): total += number * number & 255  # cost: bytecode
    books.add("bytecode", begin, clock())


def native(books, inputs):
    begin = clock()
    zlib.compress(inputs.text, 6)  # cost: zlib
    between = clock()
    hashlib.sha256(inputs.bytes).digest()  # cost: hashlib
    books.add("zlib", begin, between)
    books.add("hashlib", between, clock())


def waits(books, inputs):
    begin = clock()
    time.sleep(PAUSE)  # cost: sleep
    slept = clock()
    try:
        inputs.socket.recv(1)  # cost: socket
    except BlockingIOError:
        pass
    received = clock()
    inputs.lock.acquire(timeout=PAUSE)  # cost: lock
    books.add("sleep", begin, slept)
    books.add("socket", slept, received)
    books.add("lock", received, clock())


def several_lines(books, inputs):
    begin, _, between, _, end = (
        clock(),
        sorted(inputs.numbers),  # cost: first of several
        clock(),
        zlib.crc32(inputs.bytes) + len(str(inputs.numbers)),  # cost: second of several
        clock(),
    )
    books.add("first of several", begin, between)
    books.add("second of several", between, end)


def handed_on(books, inputs):
    begin = clock()
    try:
        sum(number ^ 5 for number in inputs.numbers) and int("x" + str(sum(inputs.numbers)))  # cost: try
    except ValueError:
        caught = clock()
    finally:
        max(inputs.numbers, key=abs), sorted(inputs.numbers, reverse=True)  # cost: finally
        books.add("finally", caught, clock())
    books.add("try", begin, caught)


class Inputs:
    def __init__(self):
        chance = random.Random(1)
        self.bytes = chance.randbytes(6_000_000)
        self.text = self.bytes[:250_000].hex().encode()
        self.numbers = [chance.randrange(1_000_000) for _ in range(25_000)]
        self.lock = threading.Lock()
        self.lock.acquire()
        self.socket, self.other = socket.socketpair()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, int(PAUSE * 1e6)))


def work(turns, inputs):
    books, begin = Books(), clock()
    for _ in range(turns):
        for phase in bytecode, native, waits, several_lines, handed_on:
            phase(books, inputs)
    books.add("all", begin, clock())
    return books.sums


def labels():
    """Label of each line that has one."""
    with open(__file__) as source:
        split = (line.split("# cost: ") for line in source)
        return {number: parts[1].strip() for number, parts in enumerate(split, 1) if len(parts) == 2}


def tell(sums):
    lines = {number: [*sums[label], label] for number, label in labels().items() if label in sums}
    waiting = [number for number, label in labels().items() if label == "waiting"]
    print(json.dumps({"all": sums["all"], "lines": lines, "waiting": waiting}), flush=True)


def main():
    inputs = Inputs()
    print("ready", os.getpid(), flush=True)
    for _ in range(int(sys.argv[2])):
        sys.stdin.readline()  # cost: waiting
        tell(work(int(sys.argv[1]), inputs))
    sys.stdin.readline()  # cost: waiting


main()
