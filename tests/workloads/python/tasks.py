"""Tasks of asyncio that compute or block by turns, and what the interpreter itself says about who awaits whom.

Runs on Python 3.8 to 3.15 unchanged. Prints `ready PID` once every task has arrived where it stays. After each line on its
input it prints a line of JSON: for each task that works its stack, leaf first, as `[file, line, function]`: the frames of
the thread without `work` itself, and from 3.14 on, behind those of the task, `["", 0, "[task NAME]"]` and what awaits it, as
`asyncio.capture_call_graph` tells. It ends with its input.
"""

import asyncio
import json
import os
import sys
import threading
import time

HERE = sys._getframe().f_code.co_filename
LONG = "a name of more characters than are recorded at the moment of a sample"
UMLAUT = "Größe 计算"
# Turns until a task's parents are surely where they stay.
SETTLED = 20
STACKS = {}
TURNS = {}
READY = threading.Event()


def work(key):
    TURNS[key] = turn = TURNS.get(key, 0) + 1
    if turn == SETTLED:
        STACKS[key] = described(sys._getframe(1))
        if len(STACKS) == len(KEYS):
            READY.set()
    value = 1
    for _ in range(20000): value = (value * 31 + 7) % 65521


def block(key):
    work(key), time.sleep(0.005)


async def leaf(key):
    while True:
        work(key)
        await asyncio.sleep(0)


async def blocking(key):
    while True:
        block(key)
        await asyncio.sleep(0)


async def middle(key):
    await leaf(key)


async def outer(key):
    return await middle(key)


async def generated(key):
    while True:
        work(key)
        yield await asyncio.sleep(0)


async def generator(key):
    async for _ in generated(key):
        pass


class Awaitable:
    """Awaited through a generator."""

    def __init__(self, key):
        self.key = key

    def __await__(self):
        return (yield from leaf(self.key).__await__())


async def awaitable(key):
    await Awaitable(key)


async def gathered():
    await asyncio.gather(leaf("gathered-1"), leaf("gathered-2"))


async def within():
    await asyncio.create_task(outer("within"), name=LONG)


async def group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(outer("group-1"), name="worker-1")
        tasks.create_task(within(), name=UMLAUT)
        await asyncio.sleep(0)


async def wait_for(task):
    await task


async def shared():
    task = asyncio.create_task(leaf("shared"), name="shared")
    await asyncio.gather(wait_for(task), wait_for(task))


KEYS = ["outer", "blocking", "generator", "awaitable", "gathered-1", "gathered-2", "shared"]
if hasattr(asyncio, "TaskGroup"):
    KEYS += ["group-1", "within"]


async def main():
    create = asyncio.create_task
    tasks = [create(outer("outer"), name="outer"), create(blocking("blocking"), name="blocking")]
    tasks += [create(generator("generator"), name="generator"), create(awaitable("awaitable"))]
    tasks += [create(gathered(), name="gathered"), create(shared())]
    if hasattr(asyncio, "TaskGroup"):
        tasks.append(create(group(), name="group"))
    await asyncio.wait(tasks)


def place(frame):
    code = frame.f_code
    return [code.co_filename, frame.f_lineno, getattr(code, "co_qualname", code.co_name)]


def described(frame):
    """The stack of the running task from a frame on."""
    graph = asyncio.capture_call_graph() if hasattr(asyncio, "capture_call_graph") else None
    # The coroutine that the task was made of.
    last = graph.call_stack[-1].frame if graph else None
    stack = []
    while frame is not None:
        stack.append(place(frame))
        if frame is last:
            stack += awaiting(graph)
        frame = frame.f_back
    return stack


def awaiting(graph):
    """A task, and what awaits it: of several the first."""
    several = ", awaited by several" if len(graph.awaited_by) > 1 else ""
    stack = [["", 0, "[task %s%s]" % (graph.future.get_name(), several)]] if hasattr(graph.future, "get_name") else []
    if graph.awaited_by:
        first = graph.awaited_by[0]
        stack += [place(entry.frame) for entry in first.call_stack]
        stack += awaiting(first)
    return stack


def answer():
    READY.wait()
    print("ready", os.getpid(), flush=True)
    for _ in sys.stdin:
        print(json.dumps(STACKS), flush=True)
    os._exit(0)


threading.Thread(target=answer, daemon=True).start()
asyncio.run(main())
