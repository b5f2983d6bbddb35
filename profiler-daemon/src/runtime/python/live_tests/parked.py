"""Parks threads in functions of all kinds, then tells in one line of JSON where each of them is."""
import asyncio
import functools
import json
import sys
import threading
import time

FOREVER = 100000


def sleeper():
    time.sleep(
        FOREVER)


def compare(a, b):
    time.sleep(FOREVER)
    return 0


def called_from_c():
    return sorted([3, 1, 2],
                  key=functools.cmp_to_key(compare))


def inner_generator():
    yield 1
    time.sleep(FOREVER)
    yield 2


def outer_generator():
    yield from inner_generator()


def generators():
    for _ in outer_generator():
        pass


class Ké:
    def __getattr__(self, name):
        time.sleep(FOREVER)

    def method(self):
        return self.missing


async def leaf():
    time.sleep(FOREVER)


async def middle():
    await leaf()


async def waiter():
    await asyncio.sleep(FOREVER)


async def root():
    tasks = [asyncio.ensure_future(waiter()) for _ in range(2)]
    await asyncio.sleep(0.01)
    await middle()
    return tasks


def coroutines():
    asyncio.new_event_loop().run_until_complete(root())


def idle_loop():
    asyncio.new_event_loop().run_until_complete(waiter())


def deep(n):
    if n:
        return deep(n - 1)
    time.sleep(FOREVER)


def 函数():
    [𠀀(item) for item in range(1)]


def 𠀀(_):
    try:
        raise ValueError
    except ValueError:
        (lambda: time.sleep(FOREVER))()


def waits_for_lock(lock):
    with lock:
        pass


def made_at_run_time():
    names = {"time": time, "FOREVER": FOREVER}
    exec(compile("\n" * 500 + "def made():\n  time.sleep(FOREVER)\nmade()\n", "<made 𝄞>", "exec"), names)


def describe(frame):
    frames = []
    while frame:
        code = frame.f_code
        frames.append([getattr(code, "co_qualname", code.co_name), code.co_filename, frame.f_lineno])
        frame = frame.f_back
    return frames


def describe_threads():
    mine = threading.get_ident()
    return {ident: describe(frame) for ident, frame in sys._current_frames().items() if ident != mine}


def describe_when_parked(count):
    threads = {}
    while True:
        time.sleep(0.3)
        before, threads = threads, describe_threads()
        if len(threads) == count and threads == before:
            return threads


def main():
    lock = threading.Lock()
    lock.acquire()
    targets = [sleeper, called_from_c, generators, Ké().method, coroutines, idle_loop, 函数, made_at_run_time]
    targets += [functools.partial(deep, 200), functools.partial(waits_for_lock, lock)]
    for target in targets:
        threading.Thread(target=target, daemon=True).start()
    threads = describe_when_parked(len(targets))
    version = "%d.%d.%d" % sys.version_info[:3]
    print(json.dumps({"version": version, "main": threading.get_ident(), "threads": threads}), flush=True)
    sys.stdin.read()


main()
