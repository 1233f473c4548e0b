"""Every block of README, CONTRIBUTING and docs/ runs as it is printed, or says why it does not.

`<!-- not run: why -->` before a block gives the reason. Lines that begin with `regraft` run in a
room where the names of the pages exist: `photos/`, `new/`, `photo.jpg`, `runs/NAME`. A command that
would take minutes gets a small network; one that serves until it is stopped is only parsed.
docs/tutorials.md and the Python of docs/python.md have tests of their own.
"""

from __future__ import annotations

import re
import shlex
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from conftest import ROOT
from regraft.cli.main import cli
from regraft.machine import processor

Run = Callable[..., Any]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
GENERATED = {"help.md"}
OWN_TEST = {"tutorials.md": "bash", "python.md": "python"}
DRAWN = {"architecture.md", "errors.md", "README.md"}  # tests of the map, layouts; and below
# Until they are stopped, or a minute: only read here.
ELSEWHERE = {
    "serve": "test_serve_command.py", "teach": "test_teach_server.py", "demo": "test_no_torch.py",
}  # fmt: skip
SMALL = "random:test_efficientnet"


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    text: str
    reason: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of its `regraft` lines; a backslash continues one."""
        lines = self.text.replace("\\\n", " ").splitlines()
        typed = [line.removeprefix("$ ") for line in lines]
        return [shlex.split(line, comments=True) for line in typed if line.startswith("regraft ")]

    @property
    def has_test(self) -> bool:
        is_drawn = self.page.name in DRAWN and self.language == "text"
        return is_drawn or OWN_TEST.get(self.page.name) == self.language


def pages() -> list[Path]:
    docs = (path for path in (ROOT / "docs").glob("*.md") if path.name not in GENERATED)
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(docs)]


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text[: found.start("language")].count("\n") + 1
        yield Block(page, line, found["language"], found["text"], found["reason"] or "")


BLOCKS = [block for page in pages() for block in blocks(page)]
README = next(block for block in BLOCKS if block.text.startswith("$ regraft train hymenoptera"))
RUN_HERE = [b for b in BLOCKS if b.commands and not b.has_test and b is not README]
PYTHON = [b for b in BLOCKS if b.language == "python" and not b.has_test and not b.reason]


def by_name(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_no_block_escapes_the_search(page: Path) -> None:
    fences = len(re.findall(r"^\s*```", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert fences == 2 * len(list(blocks(page)))


@pytest.mark.parametrize("block", BLOCKS, ids=by_name)
def test_a_block_runs_or_says_why_not(block: Block) -> None:
    """Lines of other programs need a reason too."""
    lines = [line for line in block.text.splitlines() if line.strip()]
    is_run = block.has_test or block in PYTHON or block is README
    is_all_ours = all(re.match(r"(\$ )?regraft ", line) for line in lines)
    assert is_run or is_all_ours or block.reason, "<!-- not run: why --> before the block"


# -- Commands --


def parsed(words: list[str]) -> click.Context:
    """As the program reads them, without doing anything."""
    context = cli.make_context("regraft", list(words[1:]))
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def inline() -> Iterator[tuple[str, str]]:
    """Commands within sentences and tables: those with an argument or an option."""
    for page in pages():
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for found in re.findall(r"`(regraft [a-z][^`\n]*)`", text):
            words = found.replace("...", "").replace("\\|", "|").split()
            is_whole = len(words) > 2 and not words[2].startswith("-")
            if is_whole and not page.name.startswith("experiments"):  # letters for values there
                yield page.name, " ".join(words)


@pytest.mark.parametrize(("page", "command"), sorted(set(inline())))
def test_a_command_within_a_sentence_is_accepted(page: str, command: str) -> None:
    for one in re.split(r" && ", command):
        parsed(shlex.split(one))


@pytest.fixture(scope="module")
def room(
    make_room: Callable[[str], Path], built_engines: Path, make_photos: Callable[..., Path]
) -> Path:
    """What the pages speak of, small."""
    folder = make_room("pages")
    two = ("discs", "stripes")
    make_photos(folder / "photos", classes=two, splits={"train": 26, "test": 4}, size_px=64)
    shutil.copytree(folder / "photos", folder / "hymenoptera_data")
    make_photos(folder / "more", classes=two, n=3, seed=1, size_px=64)
    made = sorted((folder / "more").rglob("*.jpg"))
    for n, place in enumerate(("new/1.jpg", "new/2.jpg", "new_photos/1.jpg", "new_photos/2.jpg")):
        (folder / place).parent.mkdir(exist_ok=True)
        shutil.copy(made[n], folder / place)
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        shutil.copy(made[0], folder / name)
    shutil.copytree(built_engines, folder / "cache")
    return folder


@pytest.fixture
def within(
    room: Path, run_warm: Run, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Runs a command in the room, once its runs are there."""
    monkeypatch.setenv("REGRAFT_CACHE", str(room / "cache"))

    def run(words: list[str], env: dict[str, str] | None = None, cwd: Path = room) -> Any:
        return run_warm(*words[1:], cwd=cwd, env=env)

    for name in ("NAME", "first", "photos-probe-1a2b3c4d"):
        if not (room / "runs" / name).is_dir():
            train = ["regraft", "train", "photos/", "--run", name, "--no-report"]
            assert run(train).returncode == 0
    return run


def made_small(words: list[str]) -> list[str]:
    """The same with a small network where layers learn, and where a budget would be used up."""
    if words[1] == "features" or "--features" in words:
        return [word.replace("3/64", "1/1") for word in words]
    if words[1] == "compare":
        small = {"--backbones": SMALL, "--ways": "probe,head", "--epochs": "1", "--seeds": "0"}
    elif words[1] == "auto":
        small = {"--backbones": SMALL, "--ways": "head"}
    elif words[1] == "advise":
        small = {"--backbones": SMALL}
    elif "+" in " ".join(words):
        small = {"--backbone": f"{SMALL}+random:test_resnet"}
    elif "--method" in words:
        small = {"--backbone": SMALL, "--epochs": "1"}
    else:
        small = {}
    kept = list(words)
    for option, value in small.items():
        if option in kept:
            kept[kept.index(option) + 1] = value
        elif option != "--seeds":
            kept += [option, value]
    return kept + ["--no-report"] * (bool(small) and words[1] in ("train", "auto"))


@pytest.mark.slow  # 40 s: each command of the pages, as a user types it
@pytest.mark.parametrize("block", RUN_HERE, ids=by_name)
def test_its_commands_run(block: Block, within: Callable[..., Any], room: Path) -> None:
    for words in block.commands:
        if words[1] in ELSEWHERE:
            parsed(words)
            continue
        done = within(made_small(words))
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", PYTHON, ids=by_name)
def test_its_python_runs(
    block: Block,
    within: Callable[..., Any],
    room: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(room)
    if "parts" in block.text and not (room / "parts").is_dir():
        within(["regraft", "features", "photos", "--shard", "1/1", "--out", "parts"])
    paths = sorted((room / "photos" / "train").rglob("*.jpg"))
    names: dict[str, Any] = {"paths": paths, "y": [path.parent.name for path in paths]}
    exec(compile(block.text, block.name, "exec"), names)


# -- What is shown --


def masked(line: str) -> str:
    """Without figures, which depend on the processor, and seconds, which depend on the day."""
    return re.sub(r"\d[\d.,]*(?:e-?\d+)?", "#", " ".join(line.split()))


def test_the_readme_shows_a_fresh_run(shared_data: Path, run_cli: Run, engine_cache: Path) -> None:
    (room := engine_cache.parent / "readme").mkdir()
    shutil.copytree(shared_data / "hymenoptera_data", room / "hymenoptera_data")
    first, *shown = README.text.splitlines()
    done = run_cli(*shlex.split(first)[2:], "--no-report", cwd=room)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    same = str if processor.precision() == "bf16" else masked
    for line in shown:
        if line == "..." or line.startswith("Report"):
            continue
        assert same(line) in list(map(same, said)), "\n".join(said)
    assert shown[-1].replace("report.html", "model").split()[1] in done.stdout
    cells = re.findall(r"^\| `(.+?)` \|", README.page.read_text(encoding="utf-8"), re.MULTILINE)
    explained = [cell.partition(" ...")[0] for cell in cells]
    kept = [line for line in shown if line != "..."]
    assert len(explained) == len(kept) == 8
    assert all(line.startswith(cell) for cell, line in zip(explained, kept, strict=True))


# -- Errors --

SHOWN = re.findall(r"^```text\n(\w*Error: .*?)^```$", (ROOT / "docs" / "errors.md").read_text(
    encoding="utf-8"), re.DOTALL | re.MULTILINE)  # fmt: skip
# What leads to the errors that docs/errors.md shows: a command, and the environment's part.
LEADS_TO = {
    "nothing to learn from": ("regraft train only_val", {}),
    "the size limit": ("regraft cache prune", {"REGRAFT_CACHE_LIMIT": "lots"}),
    "the precision": ("regraft train good", {"REGRAFT_PRECISION": "fp16"}),
    "a run has no setting": ("regraft train --config run.json", {}),
    "backbone 'hub": ("regraft train good --backbone hub:owner/repo", {}),
    "training needs": ("regraft train one_class", {}),
    "'foto'": ("regraft train foto", {}),
    "member": ("regraft train photos.zip", {}),
    "all images are in": ("regraft train photos", {}),
    "weights file": ("regraft train good --weights notes.txt", {}),
}
NEED_MORE = {  # no package, a wrong number, dead workers, a file of its own: raised elsewhere
    "--method full needs": "tests/test_no_torch.py",
    "the ridge solution": "tests/test_ridge.py",
    "1 image killed": "tests/test_processes.py",
    "not an image": "tests/test_decode.py",
    "the model is of format": "tests/test_artefact.py",
}


@pytest.fixture(scope="module")
def broken_room(room: Path, make_room: Callable[[str], Path]) -> Path:
    """A room of what goes wrong."""
    photos, room = room / "photos", make_room("broken")
    shutil.copytree(photos / "test", room / "only_val" / "val")
    shutil.copytree(photos, room / "good")
    shutil.copytree(photos / "train", room / "photos" / "train")
    shutil.copytree(photos / "train" / "discs", room / "one_class" / "discs")
    with zipfile.ZipFile(room / "photos.zip", "w") as archive:
        archive.writestr("../../evil.jpg", b"no picture")
    (room / "notes.txt").write_text("no weights", encoding="utf-8")
    (room / "run.json").write_text('{"config": {"data": "photos", "metod": "full"}}')
    return room


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.partition("\n")[0][:60])
def test_an_error_on_the_page_is_the_one_that_comes(
    shown: str, broken_room: Path, within: Callable[..., Any]
) -> None:
    rule = shown.partition(": ")[2]
    if any(rule.startswith(start) for start in NEED_MORE):
        return
    (command, env), *_ = [lead for start, lead in LEADS_TO.items() if rule.startswith(start)]
    done = within(command.split(), env, cwd=broken_room)
    assert done.returncode in (2, 3, 5)
    wanted = ["Error: " + rule.partition("\n")[0], *shown.splitlines()[1:]]
    said = done.stderr.splitlines()
    start = next(i for i, line in enumerate(said) if line.startswith("Error: "))
    assert said[start : start + len(wanted)] == wanted
