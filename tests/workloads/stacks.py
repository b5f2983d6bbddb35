"""Keeps an interpreter and its C modules busy in three threads.

Prints `ready PID`, waits for a line, works until its input ends, prints `done`.
"""

import bisect
import functools
import hashlib
import json
import os
import random
import re
import sys
import threading
import zlib

ENDED = threading.Event()
PATTERN = re.compile(r"(?:(\w+)@(\w+\.)+(com|org))|\b(\d{1,3})(?:,\d{3})*\b")


@functools.lru_cache(maxsize=64)
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def recurse(depth, value):
    if depth == 0:
        return sum(index * value for index in range(50))
    return recurse(depth - 1, value + 1) ^ depth


class Item:
    """Compares by a method in Python, called from the sort in C."""

    def __init__(self, key):
        self.key = key

    def __lt__(self, other):
        return self.key < other.key


def sort_items(random_source):
    items = [Item(random_source.random()) for _ in range(200)]
    items.sort()
    sorted(items, key=lambda item: -item.key)
    return bisect.bisect([item.key for item in items], 0.5)


def nested(depth):
    return {"depth": depth, "items": [depth] * 5, "below": nested(depth - 1) if depth else None}


def convert_json():
    text = json.dumps(nested(9), indent=1)
    return len(json.dumps(json.loads(text)))


def search_text(random_source):
    words = " ".join(random_source.choice(["a@b.com", "1,000,000", "no match here", "x@y.z.org"]) for _ in range(200))
    return len(PATTERN.findall(words)) + len(PATTERN.sub(lambda found: found.group(0)[::-1], words))


def digest(random_source):
    data = random_source.randbytes(20_000)
    return hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest(), zlib.crc32(zlib.compress(data))


def raise_and_catch(depth):
    try:
        if depth:
            return raise_and_catch(depth - 1)
        raise ValueError("on purpose")
    except ValueError as error:
        raise RuntimeError("again") from error


def compute(seed):
    random_source = random.Random(seed)
    while not ENDED.is_set():
        recurse(random_source.randrange(60), seed)
        fibonacci.cache_clear()
        fibonacci(60)
        sort_items(random_source)
        convert_json()
        search_text(random_source)
        digest(random_source)
        try:
            raise_and_catch(random_source.randrange(5))
        except RuntimeError as error:
            repr(error)


def main():
    print(f"ready {os.getpid()}", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=compute, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ENDED.set()
    for thread in threads:
        thread.join()
    print("done", flush=True)


main()
