"""Threads that run code of subinterpreters, each for ever, and what each says itself about its stack.

    subinterpreters.py

Runs on Python 3.8 to 3.15 unchanged; on 3.10 the module that it needs is there as well. Prints `ready PID` once every thread
has told where it goes to; after a line on its input, a line of JSON: of each thread its native id, its name and its frames,
leaf first, as `[file, line, function]`. It ends with its input.

The same file is the code of the subinterpreters: there its name is `apart`, and ACTION says what to do.
"""

import json
import os
import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

TICK = 0.02
HERE = sys._getframe().f_code.co_filename


def marked_line(name):
    """The line at which a function says that it stays."""
    with open(HERE, encoding="utf-8") as source:
        return next(number for number, line in enumerate(source, 1) if line.rstrip().endswith("# AT " + name))


def frames_of(frame):
    """The frames of this file and of what runs it, the innermost at the line where it is going to stay."""
    frames = []
    while frame is not None:
        code = frame.f_code
        line = frame.f_lineno if frames else marked_line(code.co_name)
        if not code.co_filename.endswith("threading.py"):
            frames.append([code.co_filename, line, code.co_name])
        frame = frame.f_back
    return frames


def tell(name, ready, outer):
    """Says where the caller is going to be."""
    frames = frames_of(sys._getframe(1)) + outer
    row = {"name": name, "tid": threading.get_native_id(), "frames": frames}
    os.write(ready, json.dumps(row).encode() + b"\n")


# --- what subinterpreters run


def spin(name, ready, outer):
    """Gives the lock away itself: from 3.9 to 3.11 nobody who waits for it in another interpreter can ask for it.

    For a moment, in which whoever waits wakes up: without it, this thread has the lock again before, on a machine that has time.
    """
    tell(name, ready, outer)
    while True: time.sleep(1e-11 * sum(range(5000)))  # AT spin


def sleep(name, ready, outer):
    tell(name, ready, outer)
    while True: time.sleep(TICK)  # AT sleep


def further(name, ready, outer, other):
    """Runs code of an interpreter that may be older or newer than this one."""
    run(other, "spin", name, ready, outer, None)


def run(interpreter, action, name, ready, outer, other):
    """Runs this file in a subinterpreter, for ever."""
    outer = frames_of(sys._getframe()) + outer
    names = {"__name__": "apart", "ACTION": action, "ARGUMENTS": [name, ready, outer], "OTHER": other, "HERE": HERE}
    script = "names = %r; exec(compile(open(names['HERE'], encoding='utf-8').read(), names['HERE'], 'exec'), names)"
    interpreters.run_string(interpreter, script % names)  # AT run


# --- the threads of the main interpreter


KEPT = []


def create():
    """A new interpreter; before 3.13 it lives only as long as this object. Isolated ones of 3.9 to 3.11 may have no threads."""
    KEPT.append(interpreters.create(isolated=False) if (3, 9) <= sys.version_info < (3, 12) else interpreters.create())
    return int(KEPT[-1])


def own(name, action, ready):
    """In an interpreter made by this thread."""
    run(create(), action, name, ready, [], None)


def given(name, interpreter, ready):
    """In an interpreter made by another thread."""
    run(interpreter, "spin", name, ready, [], None)


def nested(name, ready, is_turned):
    """In one interpreter, and from there in another, which was made before it or after it."""
    pair = [create(), create()]
    if is_turned:
        pair.reverse()
    run(pair[0], "further", name, ready, [], pair[1])


def maker(made, ready):
    """Makes an interpreter that another thread runs."""
    made.append(create())
    tell("maker", ready, [])
    while True: time.sleep(TICK)  # AT maker


def threaded(name, ready, outer):
    """Threads that know no other interpreter, and share its lock."""
    for number in (1, 2):
        threading.Thread(target=spin, args=("%s %d" % (name, number), ready, [])).start()
    sleep(name, ready, outer)


def start(*arguments):
    threading.Thread(target=arguments[0], args=arguments[1:], daemon=True).start()


def read_rows(file, count):
    return [json.loads(file.readline()) for _ in range(count)]


def main():
    sys.setswitchinterval(0.001)
    reading, ready = os.pipe()
    file, made = os.fdopen(reading), []
    rows = []

    def begin(count, *arguments):
        # One after the other: before 3.10, interpreters that are made at the same time may wait for each other for ever.
        start(*arguments)
        rows.extend(read_rows(file, count))

    begin(1, own, "spin in its own", "spin", ready)
    begin(1, own, "sleep in its own", "sleep", ready)
    begin(3, own, "threads", "threaded", ready)
    begin(1, nested, "nested", ready, False)
    begin(1, nested, "nested the other way", ready, True)
    begin(1, maker, made, ready)
    begin(1, given, "another's", made[0], ready)
    print("ready", os.getpid(), flush=True)
    for _ in sys.stdin:
        print(json.dumps(rows), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
else:
    actions = {"spin": spin, "sleep": sleep, "further": further, "threaded": threaded}
    actions[ACTION](*ARGUMENTS + ([OTHER] if OTHER is not None else []))
