"""Makes frames, code objects and exceptions as fast as it can, in several threads, and one in an interpreter of its own."""
import os
import sys
import threading


def recurse(n):
    return recurse(n - 1) if n else 0


def numbers(n):
    for number in range(n):
        yield number


def generate():
    return sum(numbers(20))


def fail():
    try:
        raise KeyError
    except KeyError:
        return list(map(recurse, [3, 2, 1]))


def make():
    names = {}
    exec("def made():\n    return [item for item in range(9)]\n", names)
    return names["made"]()


def spin(function, *arguments):
    while True:
        function(*arguments)


def start_interpreter(ready):
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    script = "import os, time\ndef apart():\n    os.write(%d, b'x')\n    time.sleep(100000)\napart()\n" % ready
    interpreters.run_string(interpreters.create(), script)


def main():
    if sys.version_info >= (3, 8):
        began, ready = os.pipe()
        threading.Thread(target=start_interpreter, args=(ready,), daemon=True).start()
        os.read(began, 1)
    for target in [(recurse, 30), (generate,), (fail,), (make,)]:
        threading.Thread(target=spin, args=target, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


main()
