"""An event loop whose tasks await replies, locks, queues, times and clients, with books of its own.

Runs on Python 3.8 to 3.15. With a port as argument it is the client, without one the server, which answers each line, a number
of seconds, after that time. The client prints `ready PID`; after the first line on its input it begins its books, after each
further one it prints them as JSON: `lines` with the function and the line of each `await`, and `books`, in seconds: for each end of
a wait, `reply` or `timer`, what each function is to be charged. All waits are the loop's own calls of `select`, which it times
itself: what a wait took is shared equally by the tasks that await what ended it.
"""

import asyncio
import json
import os
import selectors
import sys
import time
from collections import Counter

KINDS = {"slow": "reply", "quick": "reply", "part": "reply", "holder": "reply", "tick": "timer"}
CHARGED = {"reply": ["reply"], "timer": ["timer", "reply"]}
PENDING = Counter()
BOOKS = {"reply": Counter(), "timer": Counter()}


class Timed(selectors.DefaultSelector):
    """A selector that keeps books of its waits."""

    def select(self, timeout=None):
        begun = time.monotonic()
        events = super().select(timeout)
        charge("reply" if events else "timer", time.monotonic() - begun)
        return events


def charge(ended, seconds):
    for kind in CHARGED[ended]:
        pending = {name: count for name, count in PENDING.items() if count and KINDS[name] == kind}
        if pending:
            for name, count in pending.items():
                BOOKS[ended][name] += seconds * count / sum(pending.values())
            return


class pending:
    """Notes that a task awaits something in a function."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        PENDING[self.name] += 1

    def __exit__(self, *_):
        PENDING[self.name] -= 1


async def connect():
    return await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))


def ask(writer, seconds):
    writer.write(b"%f\n" % seconds)


async def slow():
    reader, writer = await connect()
    while True:
        ask(writer, 0.25)
        with pending("slow"):
            await reader.readline()  # slow


async def quick(queue):
    reader, writer = await connect()
    while True:
        ask(writer, 0.06)
        with pending("quick"):
            await reader.readline()  # quick
        queue.put_nowait(1)


async def part(link, seconds):
    reader, writer = link
    ask(writer, seconds)
    with pending("part"):
        await reader.readline()  # part


async def gathered():
    links = [await connect(), await connect()]
    while True:
        await asyncio.gather(part(links[0], 0.11), part(links[1], 0.17))


async def holder(lock):
    reader, writer = await connect()
    while True:
        async with lock:
            ask(writer, 0.09)
            with pending("holder"):
                await reader.readline()  # holder


async def consumer(queue):
    while True:
        await queue.get()


async def tick():
    while True:
        with pending("tick"):
            await asyncio.sleep(0.04)  # tick


async def serve():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        await server.serve_forever()


async def answer(reader, writer):
    while True:
        line = await reader.readline()
        if not line:
            return writer.close()
        await asyncio.sleep(float(line))
        writer.write(b"done\n")


def lines():
    with open(__file__) as file:
        text = file.read().splitlines()
    return {name: at for at, line in enumerate(text, 1) for name in KINDS if line.endswith("  # " + name)}


def follow_input():
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    if STATE["begun"]:
        print(json.dumps({"lines": lines(), "books": BOOKS}), flush=True)
    else:
        STATE["begun"] = True
        for book in BOOKS.values():
            book.clear()


async def client():
    lock, queue = asyncio.Lock(), asyncio.Queue()
    jobs = [slow(), quick(queue), gathered(), holder(lock), holder(lock), consumer(queue), tick(), serve()]
    tasks = [asyncio.ensure_future(job) for job in jobs]
    asyncio.get_running_loop().add_reader(0, follow_input)
    print("ready", os.getpid(), flush=True)
    await asyncio.gather(*tasks)


STATE = {"begun": False}


async def server():
    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    print("ready", os.getpid(), port, flush=True)
    asyncio.get_running_loop().add_reader(0, lambda: sys.stdin.readline() or sys.exit())
    async with listening:
        await listening.serve_forever()


loop = asyncio.SelectorEventLoop(Timed())
asyncio.set_event_loop(loop)
loop.run_until_complete(client() if len(sys.argv) > 1 else server())
