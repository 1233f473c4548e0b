"""Parts and runners: memory and time at many rows, and images a second by each way.

    python benchmarks/shards.py merge [--rows 1000000] [--narrow] [--one]   # made-up parts
    python benchmarks/shards.py runners DATA [--rounds 3] [--ray]
    python benchmarks/shards.py killed DATA              # a worker is killed every 10 s
    python benchmarks/shards.py store DATA               # 20 ms away, against this disk
    python benchmarks/shards.py store DATA --moto PYTHON # the same of moto's S3 (moto_store.py)
    python benchmarks/shards.py store DATA --tars        # as shards there, against shards here

`merge` writes a manifest of addresses and 64 parts with features around class means, for a tenth of
the rows and for all of them (`--one`: for these alone), and trains on them; nothing is read from
the addresses. `--narrow`: 32 features instead of 624, so that ten million rows fit a disk.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import statistics
import subprocess
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measure import PYTHON, fresh, last_json
from memory import N_CLASSES, SMALL, engine_info, report, train

if TYPE_CHECKING:
    from regraft.data.table import ImageTable
    from regraft.images.facts_table import FactsTable

N_PARTS = 64


def merge(n_rows: int, *, narrow: bool, only: bool) -> None:
    for rows in [n_rows] if only else [n_rows // 10, n_rows]:
        room = fresh()
        env = dict(os.environ, REGRAFT_CACHE=str(room / "cache"))
        command = [PYTHON, __file__, "write-parts", str(room), "--rows", str(rows)]
        subprocess.run([*command, *["--narrow"] * narrow], check=True, env=env)
        run = train(
            room / "list.csv", room / "cache", "--backbone", SMALL, "--features",
            str(room / "parts"),
        )  # fmt: skip
        assert run["metrics"]["features"]["from_parts"] == rows
        report(run, rows, f"rows of {N_PARTS} parts")
        shutil.rmtree(room)


def write_parts(room: Path, n_rows: int, *, narrow: bool) -> None:
    from regraft.features import part_file
    from regraft.features.part import Part
    from regraft.features.shard import Shard
    from regraft.features.strips import recipe_for

    info = engine_info(narrow=narrow)
    recipe, n_features = recipe_for(info), info.n_features
    random = np.random.default_rng(0)
    means = random.standard_normal((N_CLASSES, n_features)).astype(np.float32)
    with (room / "list.csv").open("w") as file:
        file.write("path,label\n")
        file.writelines(f"{name_of(row)},class{row % N_CLASSES}\n" for row in range(n_rows))
    for number in range(1, N_PARTS + 1):
        rows = Shard(number, N_PARTS).rows(n_rows)
        codes = np.arange(rows.start, rows.stop) % N_CLASSES
        X = random.standard_normal((len(rows), n_features), np.float32)
        X += 0.3 * means[codes]
        np.abs(X, out=X)
        stamps = np.full((len(rows), 2), -1, np.int64)
        facts = made_up_facts(len(rows), random)
        one = Part(recipe, [*map(name_of, rows)], stamps, facts, X, {}, Shard(number, N_PARTS))
        part_file.write(one, room / "parts")


def name_of(row: int) -> str:
    return f"s3://bucket/{row:08}.jpg"


def made_up_facts(n_rows: int, random: np.random.Generator) -> FactsTable:
    """Of small JPEGs, each with a digest and a thumbnail of its own."""
    from regraft.images.facts import FileFacts
    from regraft.images.facts_table import _ROW, FactsTable

    one = FactsTable.of([FileFacts(bytes(32), 900, "JPEG", "RGB", 64, 64, 1, 1, 128.0, 40.0)])
    row, words, layout = one.to_columns()
    rows = row.repeat(n_rows, axis=0)
    filled = rows.view(_ROW).reshape(-1)
    filled["digest"] = np.frombuffer(random.bytes(32 * n_rows), "V32")
    filled["thumb"] = random.integers(0, 256, (n_rows, 256), np.uint8)
    return FactsTable.from_columns(rows, words, layout)


# ---- runners --------------------------------------------------------------------------------


def passed(data: str, runner: str = "threads", say=lambda text: None):
    """One pass without a store; images a second without the start of engine and workers."""
    from regraft.backbones import catalog
    from regraft.data.sources import read_table
    from regraft.features import engines, extract
    from regraft.features.runners.named import runner_named
    from regraft.features.store import Store

    built = engines.locate(catalog.resolve("default"), device="cpu", offline=True)
    by = None if runner == "threads" else runner_named(runner, say=say)
    start = time.perf_counter()
    with Store.nowhere() as nothing:
        done = extract.run(read_table(data), built, nothing, runner=by)
    return done, time.perf_counter() - start


def runners(data: str, rounds: int, with_ray: bool) -> None:
    names = ["threads", "processes:2", *(["ray", "ray-data"] if with_ray else [])]
    rates = {name: [] for name in names}
    bits = set()
    for _ in range(rounds):
        for name in names:
            done = subprocess.run(
                [PYTHON, __file__, "one", data, "--runner", name], capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            told = last_json(done.stdout)
            rates[name].append(told["rate"])
            bits.add(told["bits"])
            print(name, told, flush=True)
    for name in names:
        median = statistics.median(rates[name])
        ratio = median / statistics.median(rates["threads"])
        print(f"{name}: {median:.0f} images/s ({min(rates[name]):.0f} to {max(rates[name]):.0f}), "
              f"{ratio:.3f} of the threads'")  # fmt: skip
    print("features:", "the same bits" if len(bits) == 1 else "DIFFERENT")


def one(data: str, runner: str) -> None:
    """A pass in this fresh process; the rate counts from the first part that came to the last."""
    import hashlib
    import json

    if runner == "ray-data":
        X, rate, seconds = by_ray_data(data)
    else:
        ticks = []
        from regraft.features import one_pass

        take = one_pass.Pass._take

        def ticking(self, rows, part):
            ticks.append((time.perf_counter(), len(rows)))
            take(self, rows, part)

        one_pass.Pass._take = ticking
        done, seconds = passed(data, runner)
        X, rate = done.X, done.report.images_per_second
        if ticks:  # the workers' start is no part of the rate, nor are the images until then
            n = sum(count for _, count in ticks[1:])
            rate = n / (ticks[-1][0] - ticks[0][0])
    bits = hashlib.sha256(np.ascontiguousarray(X)).hexdigest()[:12]
    print(json.dumps({"rate": round(rate, 1), "seconds": round(seconds, 2), "bits": bits}))


def by_ray_data(data: str):
    """Ray Data's own reader and map_batches, with the same decoder's successor and engine."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from regraft.backbones import catalog
    from regraft.data.sources import read_table
    from regraft.features import engines
    from regraft.images.pictures import content_of, decoded_for

    built = engines.locate(catalog.resolve("default"), device="cpu", offline=True)
    paths = [str(path) for path in read_table(data).paths]
    # Twice the cores, which the two engines would hold: none would be left for reading.
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")

    class Engine:
        def __init__(self):
            self.engine = built.engine(n_threads=1)

        def __call__(self, batch):
            preprocess = built.info.preprocess
            pictures = [
                preprocess(decoded_for(content_of(data), preprocess).pixels)
                for data in batch["bytes"]
            ]
            return {"path": batch["path"], "X": self.engine.run(np.stack(pictures))}

    start = time.perf_counter()
    found = ray.data.read_binary_files(paths, include_paths=True).map_batches(
        Engine, batch_size=64, compute=ray.data.ActorPoolStrategy(size=2), num_cpus=1
    )
    rows, ticks = {}, []
    for batch in found.iter_batches(batch_size=64):
        ticks.append((time.perf_counter(), len(batch["path"])))
        rows.update(zip(batch["path"], batch["X"], strict=True))
    seconds = time.perf_counter() - start
    rate = sum(n for _, n in ticks[1:]) / (ticks[-1][0] - ticks[0][0])
    ray.shutdown()
    return np.stack([rows[path] for path in paths]), rate, seconds


def killed(data: str, every_s: float) -> None:
    said: list[str] = []
    plain, alone_s = passed(data)
    over = threading.Event()

    def kill() -> None:
        while not over.wait(every_s):
            workers = [
                int(entry.name)
                for entry in Path("/proc").glob("[0-9]*")
                if b"runners.worker" in _command(entry) and _parent(entry) == os.getpid()
            ]
            if workers:
                os.kill(workers[0], signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    found, seconds = passed(data, "processes:2", said.append)
    over.set()
    same = np.array_equal(plain.X, found.X)
    print(f"{len(said)} workers killed, one every {every_s:g} s: "
          f"{'the same bits' if same else 'DIFFERENT'}; {seconds:.1f} s (threads {alone_s:.1f} s); "
          f"{found.report.n_images} images computed of {len(found.table)}")  # fmt: skip
    for text in said:
        print(" ", text)


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def store(data: str, latency_s: float, moto: str, rounds: int, *, tars: bool) -> None:
    """The same pictures over HTTP, as objects or as shards of S3, with some latency a request."""
    from regraft.data.sources import read_table

    table, room, root = read_table(data), fresh(), Path(os.path.abspath(data))
    if tars:
        here, names = write_shards(room / "bucket", table)
        root, there = room / "bucket", f"s3://bucket/{here.rpartition('/')[2]}"
    else:
        names = [os.path.relpath(path, root) for path in table.paths]
        rows = zip(names, table.labels, strict=True)
        lines = [f"s3://{root.name}/{name},{label}" for name, label in rows]
        (room / "list.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
        here, there = data, str(room / "list.csv")
    own = Path(__file__).resolve().parent.parent / "tests" / "object_server.py"
    theirs = Path(__file__).resolve().with_name("moto_store.py")
    command = [moto, theirs, str(latency_s)] if moto else [PYTHON, own, root.parent, str(latency_s)]
    server = subprocess.Popen([str(one) for one in command], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        os.environ |= {
            "AWS_ENDPOINT_URL": server.stdout.readline().strip(), "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
        }  # fmt: skip
        if moto:
            upload(root, names)
        compare(here, there, server.pid, len(table), rounds)
        print(f"{1000 * latency_s:.0f} ms away, {'shards' if tars else 'objects'}")
    finally:
        server.kill()
        server.wait()


def write_shards(folder: Path, table: ImageTable) -> tuple[str, list[str]]:
    """Eight shards with pictures and labels; the pattern that names them, and their names."""
    folder.mkdir()
    names = [f"{n:04}.tar" for n in range(8)]
    for n, name in enumerate(names):
        with tarfile.open(folder / name, "w") as file:
            for row in range(n * len(table) // 8, (n + 1) * len(table) // 8):
                path = table.paths[row]
                file.add(path, f"{row:06}{os.path.splitext(path)[1]}")
                label = tarfile.TarInfo(f"{row:06}.cls")
                label.size = len(said := str(table.labels[row]).encode())
                file.addfile(label, io.BytesIO(said))
    return f"{folder}/{{0000..0007}}.tar", names


def compare(here: str, there: str, server: int, n: int, rounds: int) -> None:
    """A pass over what lies here and over what lies there, in turn, and the cores' time of both."""
    rates: dict[str, list[float]] = {"this disk": [], "object store": []}
    own_ms: dict[str, list[float]] = {name: [] for name in rates}
    served_ms = []
    for _ in range(rounds):
        for name, source in (("this disk", here), ("object store", there)):
            before, served = cpu_s(os.getpid()), cpu_s(server)
            done, _ = passed(source)
            rates[name].append(done.report.images_per_second)
            own_ms[name].append(1000 * (cpu_s(os.getpid()) - before) / n)
            if name == "object store":
                served_ms.append(1000 * (cpu_s(server) - served) / n)
    for name, found in rates.items():
        spread = f"{min(found):.0f} to {max(found):.0f}"
        cost = statistics.median(own_ms[name])
        print(
            f"{name}: {statistics.median(found):.0f} images/s ({spread}, n = {rounds}), "
            f"{cost:.1f} core-ms an image"
        )
    ratio = statistics.median(rates["object store"]) / statistics.median(rates["this disk"])
    print(
        f"{ratio:.2f} of the disk's; the server itself took "
        f"{statistics.median(served_ms):.1f} core-ms an image of the same cores"
    )


def upload(root: Path, names: list[str]) -> None:
    """Into a bucket of moto's, which a request of its own makes."""
    import urllib.request

    from obstore.store import S3Store

    address = f"{os.environ['AWS_ENDPOINT_URL']}/{root.name}"
    urllib.request.urlopen(urllib.request.Request(address, method="PUT")).close()
    bucket = S3Store(root.name, virtual_hosted_style_request=False, client_options={
        "allow_http": True,
    })  # fmt: skip
    for name in names:
        bucket.put(name, (root / name).read_bytes())


def cpu_s(process: int) -> float:
    """Processor seconds that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", choices=["merge", "runners", "killed", "store", "one", "write-parts"]
    )
    parser.add_argument("data", nargs="?", default="")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--runner", default="threads")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--narrow", action="store_true")
    parser.add_argument("--one", action="store_true", help="this number of rows only")
    parser.add_argument("--every", type=float, default=10.0)
    parser.add_argument("--latency", type=float, default=0.02)
    parser.add_argument("--moto", default="", help="a Python that has moto's server")
    parser.add_argument("--tars", action="store_true", help="shards instead of single objects")
    args = parser.parse_args()
    if args.what == "merge":
        merge(args.rows, narrow=args.narrow, only=args.one)
    elif args.what == "write-parts":
        write_parts(Path(args.data), args.rows, narrow=args.narrow)
    elif args.what == "runners":
        runners(args.data, args.rounds, args.ray)
    elif args.what == "one":
        one(args.data, args.runner)
    elif args.what == "killed":
        killed(args.data, args.every)
    else:
        store(args.data, args.latency, args.moto, args.rounds, tars=args.tars)
