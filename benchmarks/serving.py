"""The server under load: images a second, waiting times, memory, the time until it is ready.

    python benchmarks/serving.py MODEL IMAGES... [--clients 8] [--seconds 10] [--requests 10000]
                                 [--peers]

Clients are threads of one process of its own that send whole files over connections they keep, and
read no more of an answer than its length: they share the machine with the server. `--peers`
serves the same engine by LitServe, and the same network by timm in FastAPI, as their guides do.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

PEERS = Path(__file__).with_name("serving_peers.py")


def main() -> None:
    options = parsed()
    files = [path.read_bytes() for path in options.images]
    rows: dict[str, Any] = {"in process": in_process(options, files)}
    command = [sys.executable, "-m", "regraft", "serve", options.model, "-q"]
    with served(command) as (port, pid, ready_s):
        rows["ready_s"] = round(ready_s, 2)
        load(port, files, options.clients, seconds=2)
        before = cpu_s(pid)
        full = load(port, files, options.clients, seconds=options.seconds)
        full["server_cpu_ms"] = round(1000 * (cpu_s(pid) - before) / full["requests"], 2)
        rows["regraft"] = full
        for name, is_even in (("at 70 %, by chance", False), ("at 70 %, evenly", True)):
            rows[name] = load(
                port, files, 4 * options.clients, seconds=options.seconds,
                rate=0.7 * full["images_s"], is_even=is_even,
            )  # fmt: skip
        if options.requests:
            rows["memory"] = memory(port, pid, files, options)
    for name in ("litserve", "timm") if options.peers else ():
        command = [sys.executable, str(PEERS), name, options.model]
        with served(command) as (port, _, _):
            bodies = [as_json(file) for file in files] if name == "litserve" else files
            load(port, bodies, options.clients, seconds=2)
            rows[name] = load(port, bodies, options.clients, seconds=options.seconds)
    print(json.dumps(rows, indent=1))


def as_json(file: bytes) -> bytes:
    """As LitServe's guides send a picture."""
    return json.dumps({"image_data": base64.b64encode(file).decode()}).encode()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--peers", action="store_true")
    return parser.parse_args()


def in_process(options: argparse.Namespace, files: Sequence[bytes]) -> dict[str, float]:
    """As many threads as there are clients, and all files in one call."""
    import regraft
    from regraft.machine import blas

    model = regraft.load(options.model)
    with blas.threads(1):
        model.answer(list(files[:16]))
        before = time.process_time()
        by_threads = over_threads(
            lambda k: model.answer(files[k % len(files)]), options.clients, options.seconds
        )
        each_ms = 1000 * (time.process_time() - before) / (by_threads * options.seconds)
        start, n = time.perf_counter(), 0
        while time.perf_counter() - start < options.seconds:
            n += len(model.answer(list(files)).names)
        at_once = n / (time.perf_counter() - start)
    return {
        "by_threads_images_s": round(by_threads, 1),
        "at_once_images_s": round(at_once, 1),
        "cpu_ms": round(each_ms, 2),
    }


def over_threads(function: Callable[[int], Any], n: int, seconds: float) -> float:
    end, counts = time.perf_counter() + seconds, [0] * n

    def work(place: int) -> None:
        while time.perf_counter() < end:
            function(counts[place] * n + place)
            counts[place] += 1

    start = time.perf_counter()
    threads = [threading.Thread(target=work, args=(place,)) for place in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


@contextmanager
def served(command: Sequence[str]) -> Any:
    """A server's port, process and seconds until it was ready."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        while not is_ready(port):
            if process.poll() is not None or time.perf_counter() - start > 120:
                sys.exit(f"{command} is not ready")
            time.sleep(0.01)
        yield port, process.pid, time.perf_counter() - start
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            head = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            return connection.recv(64).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False


def load(
    port: int, files: Sequence[bytes], n_clients: int, *,
    seconds: float = 0, rate: float = 0, requests: int = 0, is_even: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """What clients in a process of their own met; at a rate, or as fast as they can.

    At a rate requests come by chance (Poisson), or evenly.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(clients, (port, files, n_clients, seconds, rate, requests, is_even))


def clients(
    port: int, files: Sequence[bytes], n_clients: int, seconds: float, rate: float, n_most: int,
    is_even: bool,
) -> dict[str, Any]:  # fmt: skip
    kind = "application/json" if files[0][:1] == b"{" else "image/jpeg"
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    requests = [f"{head}Content-Length: {len(f)}\r\n\r\n".encode() + f for f in files]
    taken, lock, bad = [0], threading.Lock(), [0]
    times: list[float] = []
    chance = random.Random(0)
    start = time.perf_counter()
    due = [start]

    def next_one() -> tuple[int, float] | None:
        """Which request, and when it is to be sent."""
        with lock:
            now = time.perf_counter()
            at = due[0] if rate else now
            if (n_most and taken[0] >= n_most) or (seconds and max(at, now) - start > seconds):
                return None
            pause = 1 / rate if rate and is_even else chance.expovariate(rate) if rate else 0
            due[0] += pause
            taken[0] += 1
            return taken[0] - 1, at

    def work() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (found := next_one()) is not None:
                number, at = found
                time.sleep(max(0.0, at - time.perf_counter()))
                connection.sendall(requests[number % len(requests)])
                status = answer(connection)
                times.append(time.perf_counter() - at)  # from when it was due: no omission
                bad[0] += status != 200

    threads = [threading.Thread(target=work) for _ in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "requests": len(times), "bad": bad[0], "images_s": round(len(times) / wall, 1),
        "p50_ms": round(1000 * p50, 1), "p99_ms": round(1000 * p99, 1),
        "p99_over_p50": round(p99 / p50, 2), "clients_cpu_s": round(sum(os.times()[:2]), 1),
    }  # fmt: skip


def answer(connection: socket.socket) -> int:
    """The status; the rest is read and let go."""
    data = connection.recv(65536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split(b" ")[1])


def cpu_s(pid: int) -> float:
    """Seconds of processor that a process took; what else runs on the machine hardly moves it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(
    port: int, pid: int, files: Sequence[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    """Resident MiB after the first tenth of the requests, and after all."""
    tenth = options.requests // 10
    load(port, files, options.clients, requests=tenth)
    early = resident_mib(pid)
    load(port, files, options.clients, requests=options.requests - tenth)
    late = resident_mib(pid)
    return {"requests": options.requests, "early_mib": early, "late_mib": late,
            "growth": round(late / early - 1, 4)}  # fmt: skip


def resident_mib(pid: int) -> float:
    line = next(
        row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in row
    )
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
