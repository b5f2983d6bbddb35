"""Computes, sleeps and reads from a slow peer, one function each, until its input ends. Prints `ready PID`."""

import os
import socket
import sys
import threading
import time


def compute_primes(until):
    found = 0
    while time.monotonic() < until:
        for number in range(3, 3000, 2):
            if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2)):
                found += 1
    return found


def sleep_a_while(seconds):
    time.sleep(seconds)


def read_reply(connection):
    connection.sendall(b"?")
    return connection.recv(1)


def serve_slowly(connection):
    while connection.recv(1):
        time.sleep(0.2)
        connection.sendall(b"!")


def work(connection):
    while True:
        compute_primes(time.monotonic() + 0.3)
        sleep_a_while(0.2)
        read_reply(connection)


def main():
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    if os.fork() == 0:
        connection.close()
        serve_slowly(accepted)
        os._exit(0)
    accepted.close()
    threading.Thread(target=work, args=(connection,), daemon=True).start()
    print("ready", os.getpid(), flush=True)
    sys.stdin.read()


main()
