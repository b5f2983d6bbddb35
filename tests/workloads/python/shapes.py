"""A Python program that does the same work again and again at the bottom of a stack of a chosen shape.

    shapes.py frames COUNT           so many functions more, each called by the one before
    shapes.py service COUNT          so many frames in all, as in a web framework: seven middlewares, each a function and an object that
                                     is called, so that there is C code between it and its caller; then plain functions
    shapes.py objects COUNT          so many frames in all, and C code above every second one
    shapes.py tasks COUNT            so many tasks more, each awaited by the one before
    shapes.py interpreters COUNT     so many subinterpreters, each with a thread that sleeps in it
    shapes.py threads COUNT          so many threads that sleep

Prints `ready PID`. For each line on its input it does its work and prints a line of JSON: the time that took, and its CPU time.
"""

import asyncio
import json
import os
import sys
import threading
import time

# A sixth of a second, more or less.
TURNS = 3_000_000


def serve():
    """The bottom of every stack."""
    print("ready", os.getpid(), flush=True)
    for _ in sys.stdin:
        wall, cpu, value = time.monotonic_ns(), time.process_time_ns(), 1
        for _ in range(TURNS): value = (value * 31 + 7) % 65521
        print(json.dumps({"cpu_ns": time.process_time_ns() - cpu, "wall_ns": time.monotonic_ns() - wall}), flush=True)
    os._exit(0)


def frames(count):
    return frames(count - 1) if count else serve()


def shielded(get_response):
    def inner(request):
        try:
            return get_response(request)
        except ValueError:
            return None

    return inner


class Middleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        return response


def service(count, middlewares=7):
    # Beside them: the module, this function, the handler, the view and its bottom.
    plain = count - 5 - 2 * middlewares
    handler = lambda request: view(request, plain)
    for _ in range(middlewares):
        handler = shielded(Middleware(handler))
    handler({})


def objects(count):
    # Beside them: the module, this function, the view and its bottom.
    handler = view
    for _ in range((count - 4) // 2):
        handler = shielded(Middleware(handler))
    handler({})


def view(request, plain=0):
    frames(plain - 1) if plain > 1 else serve()


async def chain(count):
    if count:
        await asyncio.create_task(chain(count - 1))
    else:
        serve()


def tasks(count):
    asyncio.run(chain(count))


def interpreters(count):
    try:
        import _interpreters as module
    except ImportError:
        import _xxsubinterpreters as module
    begun, began = os.pipe()
    script = "import os, time; os.write(%d, b'x'); time.sleep(3600)" % began
    kept = [module.create() for _ in range(count)]
    for one in kept:
        threading.Thread(target=module.run_string, args=(one, script), daemon=True).start()
        os.read(begun, 1)
    serve()


def threads(count):
    for _ in range(count):
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    serve()


SHAPES = {"frames": frames, "service": service, "objects": objects, "tasks": tasks, "interpreters": interpreters, "threads": threads}
SHAPES[sys.argv[1]](int(sys.argv[2]))
