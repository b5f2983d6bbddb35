"""Suspends tasks, so many as COUNT says, then tells in one line of JSON what each of those awaits that no other is behind."""
import asyncio
import json
import sys

COUNT = 10


async def inner(future):
    await future


async def outer(future):
    return await inner(future)


async def grouped(future):
    async with asyncio.TaskGroup() as group:
        group.create_task(outer(future), name="in a group")
        group.create_task(asyncio.sleep(100000), name="Größe")


async def gathered(future):
    await asyncio.gather(outer(future), inner(future))


async def behind(task):
    await task


async def holding(lock, future):
    async with lock:
        await future


def own(task):
    coroutine, frames = task.get_coro(), []
    while getattr(coroutine, "cr_frame", None):
        frames.append(f"{coroutine.__qualname__}:{coroutine.cr_frame.f_lineno}")
        coroutine = coroutine.cr_await
    return frames[::-1] + [task.get_name()]


def first_task(graph):
    for awaiter in graph.awaited_by:
        return awaiter if isinstance(awaiter.future, asyncio.Task) else first_task(awaiter)


def tell():
    graphs = {task: asyncio.capture_call_graph(task) for task in asyncio.all_tasks()}
    places = {task: own(task) for task in graphs}
    ahead = {task: first_task(graph) for task, graph in graphs.items()}
    ahead = {task: graph.future for task, graph in ahead.items() if graph}
    pending = []
    for task in set(graphs) - set(ahead.values()):
        place, awaiter = list(places[task]), ahead.get(task)
        while awaiter:
            place += places[awaiter]
            awaiter = ahead.get(awaiter)
        pending.append(place)
    version = ".".join(map(str, sys.version_info[:3]))
    print(json.dumps({"version": version, "tasks": len(graphs), "pending": pending}), flush=True)


async def main():
    future, lock = asyncio.get_running_loop().create_future(), asyncio.Lock()
    jobs = [grouped(future), gathered(future), holding(lock, future), holding(lock, future)]
    tasks = [asyncio.create_task(job) for job in jobs]
    tasks.append(asyncio.create_task(behind(asyncio.create_task(outer(future), name="task"))))
    tasks += [asyncio.create_task(outer(future)) for _ in range(COUNT)]
    await asyncio.sleep(0.1)
    asyncio.get_running_loop().call_later(0.1, tell)
    await asyncio.gather(*tasks)


asyncio.run(main())
