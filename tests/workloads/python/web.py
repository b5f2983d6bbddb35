"""A web service of Starlette, to be run by uvicorn, which times its own endpoints.

`/seen` answers with every request since the start: path, begin and end by the system's clock, and the thread's CPU time.
"""

import asyncio
import functools
import time

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

SEEN = []


def compute(request):
    total = 0
    for number in range(40_000):
        total += number * number % 97
    return total


async def computing(request):
    return PlainTextResponse(str(compute(request)))


async def blocking(request):
    time.sleep(0.015)
    return PlainTextResponse("blocked the loop")


async def awaiting(request):
    await asyncio.sleep(0.02)
    return PlainTextResponse("let others run")


def pooled(request):
    time.sleep(0.025)
    return PlainTextResponse("in a thread")


def timed(endpoint):
    """Measures each call of an endpoint, as middleware does."""

    def note(request, begin, cpu):
        SEEN.append((request.url.path, begin, time.time(), time.thread_time() - cpu))

    @functools.wraps(endpoint)
    async def measure(request):
        begin, cpu = time.time(), time.thread_time()
        try:
            return await endpoint(request)
        finally:
            note(request, begin, cpu)

    @functools.wraps(endpoint)
    def measure_in_thread(request):
        begin, cpu = time.time(), time.thread_time()
        try:
            return endpoint(request)
        finally:
            note(request, begin, cpu)

    return measure if asyncio.iscoroutinefunction(endpoint) else measure_in_thread


async def seen(request):
    return JSONResponse(SEEN)


ENDPOINTS = [computing, blocking, awaiting, pooled]
app = Starlette(routes=[Route("/seen", seen)] + [Route(f"/{one.__name__}", timed(one)) for one in ENDPOINTS])
