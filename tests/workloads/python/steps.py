"""A process that changes: what it runs, who it is, which threads it has.

    steps.py stay            computes for ever
    steps.py change PROGRAM  the same; after a line on its input it becomes PROGRAM, which runs `steps.py stay`
    steps.py fork            after a line on its input it forks workers, which start one thread after the other, and prints
                             a line of JSON with their pids

Prints `ready PID`. Runs on every Python 3 unchanged. `# AT NAME` marks the line at which the function of that name stays.
"""

import os
import sys
import threading
import time

HERE = os.path.abspath(__file__)
WORKERS = 3
LIFETIME = 0.03


def spin():
    value = 1
    while True: value = (value * 31 + 7) % 65521  # AT spin


def stay():
    print("ready", os.getpid(), flush=True)
    spin()  # AT stay


def change(program):
    threading.Thread(target=become, args=(program,), daemon=True).start()
    print("ready", os.getpid(), flush=True)
    spin()  # AT change


def become(program):
    sys.stdin.readline()
    os.execv(program, [program, "-u", HERE, "stay"])


def fork():
    print("ready", os.getpid(), flush=True)
    sys.stdin.readline()
    workers = []
    for _ in range(WORKERS):
        worker = os.fork()
        if worker == 0:
            work()  # AT fork
        workers.append(worker)
    print(workers, flush=True)
    sys.stdin.readline()


def work():
    while True: run(threading.Thread(target=passing))  # AT work


def run(thread):
    thread.start(), thread.join()  # AT run


def passing():
    end = time.monotonic() + LIFETIME
    while time.monotonic() < end: pass  # AT passing


def main():
    {"stay": stay, "change": change, "fork": fork}[sys.argv[1]](*sys.argv[2:])  # AT main


main()  # AT <module>
