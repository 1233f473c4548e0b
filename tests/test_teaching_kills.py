"""A process that teaches is killed at random moments: at most its last action is lost."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from regraft.teaching.project import Project

# As many kills as the release asks for: REGRAFT_KILLS=20.
KILLS = int(os.environ.get("REGRAFT_KILLS", "4"))

# Acts without pause; after each action says, past every buffer, its number and the state then.
WORKER = """
import os, random, sys
from regraft.errors import UsageError
from regraft.teaching.project import New, Project

def digest(project):
    return repr((sorted((n, one.path, one.digest) for n, one in project.pictures.items()),
                 project.classes))

def act(project, rng):
    numbers = [one.number for one in project.shown()]
    some = rng.sample(numbers, min(len(numbers), 12))
    kind = rng.choice(["add", "add", "label", "label", "remove", "rename", "undo", "undo", "redo"])
    if kind == "add":
        names = [f"p{rng.randrange(40)}.jpg" for _ in range(8)]
        project.add([New(name, rng.randbytes(2000), ".jpg") for name in names],
                    rng.choice([None, "ants", "bees"]))
    elif kind == "label":
        project.label(some, rng.choice(["ants", "bees", "moths", None]))
    elif kind == "remove":
        project.remove(some[:3])
    elif kind == "rename":
        project.rename_class(rng.choice(project.classes), rng.choice(["ants", "wasps"]))
    else:
        getattr(project, kind)()

rng = random.Random(int(sys.argv[2]))
project = Project(sys.argv[1])
project.add([New("first.jpg", b"first", ".jpg")], "ants")
while True:
    os.write(1, f"{project.version} {digest(project)}\\n".encode())
    try:
        act(project, rng)
    except (UsageError, IndexError):
        pass
"""


def state(project: Project) -> str:
    pictures = sorted((n, one.path, one.digest) for n, one in project.pictures.items())
    return repr((pictures, project.classes))


def killed_after(folder: Path, seed: int, seconds: float) -> tuple[int, str]:
    """The last action that the process said was done, and its state then."""
    command = [sys.executable, "-c", WORKER, str(folder), str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [process.stdout.readline()]
    reader = threading.Thread(target=lambda: said.extend(process.stdout or ()))
    reader.start()
    time.sleep(seconds)
    process.kill()
    assert process.wait() == -9, "it ended by itself"
    reader.join()
    process.stdout.close()
    number, _, text = [line for line in said if line.endswith(b"\n")][-1].decode().partition(" ")
    return int(number), text.rstrip("\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_kill_loses_at_most_the_last_action(tmp_path: Path) -> None:
    folder, rng = tmp_path / "taught", random.Random(24)
    n_actions = 0
    for seed in range(KILLS):
        before = n_actions
        version, said = killed_after(folder, seed, rng.uniform(0.02, 0.4))
        with Project(folder) as project:
            assert version > before, "nothing was done before the kill"
            # What was begun may be done or not; what was said to be done is done.
            assert project.version in (version, version + 1)
            if project.version == version:
                assert state(project) == said
            live, n_actions = state(project), project.version
            assert_all_lie_there(project)
        with Project(folder) as project:
            assert state(project) == live
            assert project.version == n_actions


def assert_all_lie_there(project: Project) -> None:
    """Every picture that the journal knows, the removed ones in the trash, has its own bytes."""
    for one in project.pictures.values():
        assert hashlib.sha256(project.path(one).read_bytes()).hexdigest() == one.digest, one
