"""A Python program that computes: calls between Python and C in several layers, as programs have them.

Prints `ready PID`. For each line on its input it computes for a second and prints one line: the rounds done and the CPU
time they took.
"""

import json
import os
import re
import sys
import time


class Record:
    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        return self.number < other.number


def encode(value):
    return {"number": value.number, "text": "x" * (value.number % 50)}


def one_round():
    records = sorted(Record(number * 7919 % 1009) for number in range(300))
    text = json.dumps(records, default=encode, indent=1)
    return len(re.sub(r"x+", lambda match: str(len(match.group())), text)) + nested(20)


def nested(depth):
    return max(map(nested, [depth - 1])) + 1 if depth else 0


def compute(seconds):
    begin, cpu_begin, turns = time.monotonic(), time.process_time_ns(), 0
    while time.monotonic() - begin < seconds:
        one_round()
        turns += 1
    return {"turns": turns, "cpu_ns": time.process_time_ns() - cpu_begin}


print("ready", os.getpid(), flush=True)
for _ in sys.stdin:
    print(json.dumps(compute(1.0)), flush=True)
