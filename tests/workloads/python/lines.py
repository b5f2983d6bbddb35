"""The line tables of this interpreter's own library, and what the interpreter makes of them.

    lines.py [MODULES]

Prints a line per code object: where it comes from, its first line, the length of its code, the bytes of its table, and the
lines by `PyCode_Addr2Line`, asked for every code unit: `FILE:NAME first=1 codelen=8 table=00ff runs=0-4:1 4-8:none`.
MODULES bounds how many files are compiled; all without it. The tables are `co_lnotab` up to 3.9 and `co_linetable` from
3.10 on.
"""

import ctypes
import os
import sys
import sysconfig
import types
import warnings

SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "ensurepip", "turtledemo"}

line_at = ctypes.pythonapi.PyCode_Addr2Line
line_at.argtypes = [ctypes.py_object, ctypes.c_int]
line_at.restype = ctypes.c_int


def sources(folder):
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted(names):
            if name.endswith(".py"):
                yield os.path.join(place, name)


def code_objects(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


def runs(code):
    """Ranges of bytes on one line, or on none."""
    begin, current = 0, None
    length = len(code.co_code)
    for offset in range(0, length, 2):
        line = line_at(code, offset)
        if offset and line != current:
            yield begin, offset, current
            begin = offset
        current = line
    if length:
        yield begin, length, current


def described(file, code):
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    spans = ("%d-%d:%s" % (begin, end, line if line >= 0 else "none") for begin, end, line in runs(code))
    name = ("%s:%s" % (file, code.co_name)).replace(" ", "_")
    fields = (name, code.co_firstlineno, len(code.co_code), table.hex(), " ".join(spans))
    return "%s first=%d codelen=%d table=%s runs=%s" % fields


def main():
    warnings.simplefilter("ignore")
    library = sysconfig.get_paths()["stdlib"]
    files = list(sources(library))
    for path in files[: int(sys.argv[1]) if len(sys.argv) > 1 else None]:
        with open(path, "rb") as file:
            try:
                module = compile(file.read(), path, "exec")
            except (SyntaxError, ValueError):
                continue
        for code in code_objects(module):
            print(described(os.path.relpath(path, library), code))


main()
