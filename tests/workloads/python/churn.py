"""An event loop whose tasks come and go by the thousand, for whoever reads them meanwhile.

Prints `ready PID`. Then, until its input ends, tasks with names of all kinds begin and end: in each turn a crowd, of ten to four
thousand, that awaits a future of all, a gathering, a group, and a task that awaits a task.
"""

import asyncio
import os
import random
import sys

NAMES = ["one", "Größe %d", "a name of more characters than are recorded at the moment of a sample %d", None]


async def leaf(future):
    # Whoever is cancelled leaves the future to the others.
    await asyncio.shield(future)


async def middle(future):
    return await leaf(future)


async def chained(future, depth):
    if depth == 0:
        return await middle(future)
    await asyncio.ensure_future(chained(future, depth - 1))


def named(job):
    task, name = asyncio.ensure_future(job), random.choice(NAMES)
    if name and hasattr(task, "set_name"):
        task.set_name(name % random.randrange(1000) if "%" in name else name)
    return task


async def turn(size):
    future = asyncio.get_running_loop().create_future()
    crowd = [named(middle(future)) for _ in range(size)]
    crowd.append(named(chained(future, 40)))
    together = asyncio.gather(*crowd)
    await asyncio.sleep(random.choice([0.001, 0.02, 0.1]))
    for task in random.sample(crowd, size // 3):
        task.cancel()
    future.set_result(None)
    await asyncio.gather(together, return_exceptions=True)
    await asyncio.gather(*crowd, return_exceptions=True)


async def main():
    asyncio.get_running_loop().add_reader(0, lambda: sys.stdin.readline() or os._exit(0))
    print("ready", os.getpid(), flush=True)
    while True:
        await turn(random.choice([10, 100, 1000, 4000, 10000]))


asyncio.run(main())
