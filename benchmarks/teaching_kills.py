"""The server of `regraft teach` is killed at random moments while a script posts actions.

    python benchmarks/teaching_kills.py FOLDER [--kills 20] [--seed 24]

FOLDER (class folders) is copied. A server is started on the copy, actions are posted to it without
pause (labels, classes made, renamed and removed, trash, undo, redo), and it gets
SIGKILL. Then the folder is opened: what was acknowledged must be there, at most one action more
(the one under way; it was not acknowledged), and opened again the state must be the same. The next
server goes on where this one ended. Besides actions the server itself writes what it finds
('found': near copies); that is no action of anybody.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from teaching_page import taught

from regraft.teaching.project import Project

CLASSES = ("ants", "bees", "moths", "wasps")


@dataclass
class Said:
    """What the server acknowledged: its version, and each picture's place then."""

    version: int = 0
    places: dict[int, str] | None = None
    n_actions: int = 0


class Poster:
    """Posts actions one after the other until the server is gone."""

    def __init__(self, url: str, rng: random.Random) -> None:
        address = urlsplit(url)
        self.site = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        self.rng, self.said = rng, Said()
        self._look()

    def run(self) -> None:
        """Until the connection breaks."""
        try:
            while True:
                self._act()
                self._look()
        except (OSError, http.client.HTTPException, ValueError):
            return

    def _ask(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        method = "GET" if body is None else "POST"
        self.site.request(method, path, body, {"Content-Type": kind})
        return json.loads(self.site.getresponse().read())

    def _look(self) -> None:
        told = self._ask("/api/pictures?since=0")
        places = {number: path for number, path, *_ in told["pictures"]}
        self.said = Said(told["version"], places, self.said.n_actions)

    def _act(self) -> None:
        rng = self.rng
        some = rng.sample(sorted(self.said.places or {}), min(5, len(self.said.places or {})))
        path, given = rng.choice(
            [
                ("label", {"pictures": some, "label": rng.choice([*CLASSES, None])}),
                ("label", {"pictures": some, "label": rng.choice(CLASSES)}),
                ("remove", {"pictures": some[:1]}),
                ("class/rename", {"name": rng.choice(CLASSES), "to": rng.choice(CLASSES)}),
                ("class/remove", {"name": rng.choice(CLASSES)}),
                ("class/add", {"name": rng.choice(CLASSES)}),
                ("undo", {}), ("undo", {}), ("redo", {}),
            ]
        )  # fmt: skip
        answer = self._ask(f"/api/{path}", json.dumps(given).encode())
        if "error" not in answer:  # a class that is not there cannot be renamed
            self.said.version, self.said.places = answer["version"], None
            self.said.n_actions += 1


def killed(folder: Path, rng: random.Random) -> Said:
    """What was acknowledged before the kill."""
    with taught(folder) as (url, process):
        poster = Poster(url, rng)
        thread = threading.Thread(target=poster.run)
        thread.start()
        time.sleep(rng.uniform(0.1, 1.5))
        process.kill()
        thread.join()
    return poster.said


def judge(folder: Path, said: Said) -> int:
    """How many actions are there that were not acknowledged: none or one; else it ends."""
    with Project(folder) as project:
        later = project.journal.entries[said.version :]
        ours = [one for one in later if one.action != "found"]
        assert project.version >= said.version, "an acknowledged action is lost"
        assert len(ours) <= 1, ours
        if said.places is not None:
            touched = {move.picture for one in later for move in one.moves}
            now = {one.number: one.path for one in project.shown()}
            for number in (set(now) | set(said.places)) - touched:
                assert now.get(number) == said.places.get(number), number
        live = (project.pictures, project.classes, project.version)
        for one in project.shown():
            assert project.path(one).exists(), one
    with Project(folder) as project:
        assert (project.pictures, project.classes, project.version) == live, "another replay"
    return len(ours)


def main() -> None:
    """As the first lines say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=24)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "taught"
        shutil.copytree(given.folder, folder, ignore=shutil.ignore_patterns(".regraft"))
        for kill in range(given.kills):
            said = killed(folder, rng)
            more = judge(folder, said)
            print(
                f"kill {kill + 1}: {said.n_actions} actions, version {said.version}, {more} more",
                flush=True,
            )


if __name__ == "__main__":
    main()
