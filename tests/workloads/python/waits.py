"""Waits of Python programs: one case per run, in a thread of its own that keeps the books of its waits.

    waits.py CASE [FOLDER]

Prints `ready PID`, waits for a line on its input, runs the case in a thread and prints a line of JSON: the thread, how long it
ran and waited, how often, and what it waited for. `done` follows. It ends with its input. Databases are those of
`$WAITS_REDIS` and `$WAITS_POSTGRES`, each an address and a port.
"""

import asyncio
import concurrent.futures
import ctypes
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

SECONDS = 1.2
# How long the other side of a wait lets it wait.
PAUSE = 0.015


class Books:
    """What a thread measures of its waits: the time in which it neither computes nor queues."""

    def __init__(self):
        self.schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self.last = time.monotonic() + SECONDS
        self.wait_ns = self.waits = 0

    def runs(self):
        return time.monotonic() < self.last

    def run_delay_ns(self):
        return int(os.pread(self.schedstat, 100, 0).split()[1])

    def blocked_ns(self):
        """Read again if the thread lost its CPU in between."""
        while True:
            before = self.run_delay_ns()
            blocked = time.monotonic_ns() - time.thread_time_ns() - before
            if self.run_delay_ns() == before:
                return blocked

    def begin(self):
        self.wait_ns -= self.blocked_ns()

    def end(self):
        self.wait_ns += self.blocked_ns()
        self.waits += 1

    def __enter__(self):
        self.begin()

    def __exit__(self, *error):
        self.end()


def start_other(function, *arguments):
    """A process that runs the function and ends with this one."""
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() == parent:
            try:
                function(*arguments)
            except OSError:
                pass
        os._exit(0)
    return pid


def start_thread(function, *arguments):
    """A thread that calls the function again and again."""

    def run():
        while True:
            function(*arguments)

    threading.Thread(target=run, daemon=True).start()


def address_text(address):
    return "%s:%d" % address[:2]


def read_line(connection):
    """A client's request or a server's answer; nothing at the end."""
    return connection.recv(100)


# ---- locks and what threads say to each other --------------------------------------------------------------------------


def prepare_lock():
    """Two locks, of which another thread holds one at any time: whoever asks for both in turn always waits."""
    locks = threading.Lock(), threading.Lock()
    locks[0].acquire()

    def hold():
        for this, other in (locks, locks[::-1]):
            time.sleep(PAUSE)
            other.acquire()
            this.release()

    start_thread(hold)
    return locks


def take_locks(books, locks):
    while books.runs():
        for lock in locks:
            books.begin()
            lock.acquire()
            books.end()
            lock.release()


def prepare_condition():
    condition = threading.Condition()

    def tell():
        time.sleep(PAUSE)
        with condition:
            condition.notify()

    start_thread(tell)
    return condition


def await_condition(books, condition):
    with condition:
        while books.runs():
            with books:
                condition.wait()


def prepare_event():
    event = threading.Event()

    def tell():
        time.sleep(PAUSE)
        event.set()

    start_thread(tell)
    return event


def await_event(books, event):
    while books.runs():
        with books:
            event.wait()
        event.clear()


def prepare_queue():
    tasks = queue.Queue()

    def put():
        time.sleep(PAUSE)
        tasks.put(None)

    start_thread(put)
    return tasks


def take_tasks(books, tasks):
    while books.runs():
        with books:
            tasks.get()


def prepare_join():
    """Threads that end one after the other, once they are told to begin: starting one waits for it, too."""
    begun = threading.Event()

    def live(seconds):
        begun.wait()
        time.sleep(seconds)

    threads = [threading.Thread(target=live, args=(number * PAUSE,)) for number in range(1, 81)]
    for thread in threads:
        thread.start()
    return begun, threads


def join_threads(books, prepared):
    begun, threads = prepared
    begun.set()
    for thread in threads:
        with books:
            thread.join()


def compute(goes_on):
    value = 1
    while goes_on():
        for _ in range(20000):
            value = (value * 31 + 7) % 65521


def compete(books, _):
    """Computes by itself first, so that its stack is known; then beside another, as long as it measures."""
    end = time.thread_time() + 0.05
    compute(lambda: time.thread_time() < end)
    begun, over = threading.Event(), []

    def run():
        begun.wait()
        compute(lambda: not over)

    threading.Thread(target=run, daemon=True).start()
    books.begin()
    begun.set()
    compute(books.runs)
    over.append(True)
    books.end()


# ---- time, processes, clients --------------------------------------------------------------------------------------------


def sleep(books, _):
    while books.runs():
        with books:
            time.sleep(PAUSE)


def run_programs(books, _):
    """The parent also waits for each child to run its program, which is a wait of another kind, but short."""
    while books.runs():
        with books:
            subprocess.run(["sleep", "0.4"])


def answer_slowly(listener, answer):
    connection, _ = listener.accept()
    while read_line(connection):
        time.sleep(PAUSE)
        connection.sendall(answer)


def start_server(answer=b"x"):
    listener = socket.create_server(("127.0.0.1", 0))
    start_other(answer_slowly, listener, answer)
    address = listener.getsockname()
    listener.close()
    return address


def prepare_http():
    """One connection per request, as `urllib` makes them."""
    listener = socket.create_server(("127.0.0.1", 0))
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def serve():
        while True:
            connection, _ = listener.accept()
            with connection:
                read_line(connection)
                time.sleep(PAUSE)
                connection.sendall(answer)

    start_other(serve)
    address = listener.getsockname()
    listener.close()
    return address


def ask_http(books, address):
    url = "http://%s:%d/" % address
    while books.runs():
        with books:
            urllib.request.urlopen(url, timeout=30).read()
    return address_text(address)


def receive(books, address):
    with socket.create_connection(address) as connection:
        while books.runs():
            connection.sendall(b"x")
            with books:
                read_line(connection)
    return address_text(address)


def server_of(variable):
    host, _, port = os.environ[variable].rpartition(":")
    return host, int(port)


def ask_redis(books, address):
    """Waits for a list that stays empty."""
    with socket.create_connection(address) as connection:
        while books.runs():
            connection.sendall(b"BLPOP nothing 0.05\r\n")
            with books:
                read_line(connection)
    return with_peer(address_text(address))


def with_peer(address):
    """An address of this host, with what the process there is called at least."""
    return "%s (%s" % (address, os.environ["WAITS_PEER"])


def prepare_postgres():
    """A connection by PostgreSQL's own library."""
    library = ctypes.CDLL("libpq.so.5")
    library.PQconnectdb.restype = library.PQexec.restype = ctypes.c_void_p
    library.PQerrorMessage.restype = ctypes.c_char_p
    text = "host=%s port=%d user=postgres dbname=postgres" % server_of("WAITS_POSTGRES")
    connection = ctypes.c_void_p(library.PQconnectdb(text.encode()))
    if library.PQstatus(connection) != 0:
        raise ConnectionError(library.PQerrorMessage(connection))
    return library, connection


def ask_postgres(books, opened):
    library, connection = opened
    while books.runs():
        with books:
            result = ctypes.c_void_p(library.PQexec(connection, b"SELECT pg_sleep(0.015)"))
        library.PQclear(result)
    return with_peer(os.environ["WAITS_POSTGRES"])


# ---- pools -----------------------------------------------------------------------------------------------------------------


def run_pool():
    """The only worker of a pool: it waits from the end of a task to the begin of the next."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    books, thread, begun = pool.submit(open_books).result()
    while books.runs():
        time.sleep(PAUSE)
        pool.submit(count_wait, books).result()
    pool.submit(close_books, books, thread, begun)
    pool.shutdown()


def open_books():
    books = Books()
    begun, thread = time.monotonic_ns(), threading.get_native_id()
    books.begin()
    return books, thread, begun


def close_books(books, thread, begun):
    books.end()
    report(thread, begun, books, "")


def count_wait(books):
    books.end()
    books.begin()


# ---- event loops -------------------------------------------------------------------------------------------------------------


def connect_slowly(address):
    while True:
        time.sleep(PAUSE)
        socket.create_connection(address).close()


def ask_slowly(address):
    with socket.create_connection(address) as connection:
        while True:
            time.sleep(PAUSE)
            connection.sendall(b"x")
            read_line(connection)


def run_loop(books, coroutine):
    """All that a loop waits for."""

    async def run():
        books.begin()
        result = await coroutine
        books.end()
        return result

    return asyncio.run(run())


def prepare_listener(client):
    listener = socket.create_server(("127.0.0.1", 0))
    start_other(client, listener.getsockname())
    return listener


async def serve_requests(listener, books):
    """Ends with a request, not by a timer, which the loop would wait for as well."""
    port, over = listener.getsockname()[1], asyncio.Event()

    async def serve(reader, writer):
        while await reader.read(10):
            writer.write(b"x")
            await writer.drain()
            end_in_time()
        writer.close()
        end_in_time()

    def end_in_time():
        books.waits += 1
        if not books.runs():
            over.set()

    server = await asyncio.start_server(serve, sock=listener)
    await over.wait()
    server.close()
    return "port %d" % port


def asyncio_server(books, listener):
    return run_loop(books, serve_requests(listener, books))


async def ask_server(books, address):
    reader, writer = await asyncio.open_connection(*address)
    while books.runs():
        writer.write(b"x")
        await reader.read(10)
        books.waits += 1
    writer.close()
    return address_text(address)


def asyncio_client(books, address):
    return run_loop(books, ask_server(books, address))


async def hand_off(books):
    loop = asyncio.get_running_loop()
    while books.runs():
        await loop.run_in_executor(None, time.sleep, PAUSE)
        books.waits += 1


def asyncio_executor(books, _):
    run_loop(books, hand_off(books))


async def sleep_often(books):
    while books.runs():
        await asyncio.sleep(PAUSE)
        books.waits += 1


def asyncio_sleep(books, _):
    run_loop(books, sleep_often(books))


CASES = {
    "py_lock": (prepare_lock, take_locks),
    "py_condition": (prepare_condition, await_condition),
    "py_event": (prepare_event, await_event),
    "py_queue": (prepare_queue, take_tasks),
    "py_join": (prepare_join, join_threads),
    "py_gil": (None, compete),
    "py_sleep": (None, sleep),
    "py_subprocess": (None, run_programs),
    "py_http": (prepare_http, ask_http),
    "py_receive": (start_server, receive),
    "redis": (lambda: server_of("WAITS_REDIS"), ask_redis),
    "postgres": (prepare_postgres, ask_postgres),
    "asyncio_listen": (lambda: prepare_listener(connect_slowly), asyncio_server),
    "asyncio_request": (lambda: prepare_listener(ask_slowly), asyncio_server),
    "asyncio_client": (start_server, asyncio_client),
    "asyncio_executor": (None, asyncio_executor),
    "asyncio_sleep": (None, asyncio_sleep),
}


def report(thread, begun, books, subject):
    line = {"thread": thread, "life_ns": time.monotonic_ns() - begun, "wait_ns": books.wait_ns, "waits": books.waits}
    print(json.dumps({**line, "subject": subject or ""}), flush=True)


def run_case(run, prepared):
    begun, books = time.monotonic_ns(), Books()
    subject = run(books, prepared)
    report(threading.get_native_id(), begun, books, subject)


def run_in_thread(name):
    """Prepares the case; what remains is done after `ready`."""
    prepare, run = CASES[name]
    arguments = run, prepare() if prepare else None
    return lambda: run_and_join(threading.Thread(target=run_case, args=arguments))


def run_and_join(thread):
    thread.start()
    thread.join()


def main():
    name = sys.argv[1]
    start = run_pool if name == "py_executor" else run_in_thread(name)
    print("ready", os.getpid(), flush=True)
    if sys.stdin.readline():
        start()
        print("done", flush=True)
        sys.stdin.readline()
    os._exit(0)


main()
