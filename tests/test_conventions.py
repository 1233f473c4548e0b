"""Habits that would be forgotten if a test did not keep them: exports, names, layers, papers."""

from __future__ import annotations

import ast
import functools
import graphlib
import importlib
import importlib.util
import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regraft import errors

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "regraft").rglob("*.py"))
MAX_LINES = 800
# Names that say nothing about what a file is for.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# -- Files --


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_opens_with_what_it_is(path: Path) -> None:
    text = ast.get_docstring(tree_of(path)) or ""
    first, *rest = text.partition("\n\n")[0].splitlines() or [""]
    assert first, "the module needs a docstring: what is here, and why this way"
    assert " ".join([first, *rest]).rstrip().endswith((".", ":")), f"unfinished sentence: {first!r}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_has_a_telling_name_and_is_not_endless(path: Path) -> None:
    parts = {part.strip("_") for part in path.relative_to(ROOT / "src").with_suffix("").parts}
    assert not parts & EMPTY_NAMES, "name the one concept that is in the file"
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert n_lines <= MAX_LINES, f"{n_lines} lines: which second concept lives here?"


def exported(path: Path) -> list[str] | None:
    for node in tree_of(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
            return [str(name) for name in ast.literal_eval(node.value)]  # type: ignore[attr-defined]
    return None


def in_order(names: list[str]) -> list[str]:
    """CONSTANTS, Classes, functions, each by the alphabet: ruff's order (RUF022)."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


@pytest.mark.parametrize("path", [p for p in SOURCES if exported(p) is not None], ids=name_of)
def test_all_is_sorted_and_true(path: Path) -> None:
    names = exported(path) or []
    module = importlib.import_module(module_of(path))
    assert names == in_order(names)
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


# -- Who imports whom --


@pytest.mark.skipif(importlib.util.find_spec("importlinter") is None, reason="no import-linter")
def test_rooms_import_only_the_rooms_below_them() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def imports_of(path: Path) -> set[str]:
    """Files of ours that a file imports, those that only types need included."""
    found = set()
    names = {module_of(source): source for source in SOURCES}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("regraft"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in names else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in names}
    return {name for name in found if name in names} - {"regraft", module_of(path)}


def test_no_files_import_each_other_in_a_circle_even_for_types() -> None:
    graph = {module_of(path): imports_of(path) for path in SOURCES if module_of(path) != "regraft"}
    # A package's own names come from its files.
    graph["regraft.model"] -= {"regraft.model.loading", "regraft.model.saving"}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names them


def test_the_house_has_few_loose_files_and_no_room_too_large() -> None:
    loose = sorted(path.name for path in SOURCES if path.parent.name == "regraft")
    assert loose == [
        "__init__.py", "__main__.py", "errors.py", "estimator.py", "listener.py", "wording.py",
    ]  # fmt: skip
    rooms: Counter[str] = Counter()
    for path in SOURCES:
        room = path.relative_to(ROOT / "src" / "regraft").parts[0]
        rooms[room] += len(path.read_text(encoding="utf-8").splitlines())
    (largest, n_lines) = rooms.most_common(1)[0]
    assert n_lines <= rooms.total() / 6, f"{largest} has {n_lines} of {rooms.total()} lines"


LOADED = """
import json, sys
wanted, arguments = json.loads(sys.argv[1]), sys.argv[2:]
sys.argv = ["regraft", *arguments]
code = 0
if arguments:
    from regraft.cli.main import main
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
else:
    import regraft
found = [name for name in wanted if name in sys.modules]
print(json.dumps({"code": code, "loaded": found}), file=sys.stderr)
"""


def loaded(run_python: Run, wanted: list[str], *arguments: object) -> list[str]:
    """Which of `wanted` a fresh process has imported after a command (or `import regraft`)."""
    done = run_python("-c", LOADED, json.dumps(wanted), *arguments)
    last = done.stderr.strip().rpartition("\n")[2]
    assert last.startswith("{"), done.stderr[-3000:]
    result = json.loads(last)
    assert result["code"] == 0, done.stderr[-3000:]
    return result["loaded"]


HEAVY = ["PIL", "matplotlib", "numpy", "openvino", "polars", "rich", "scipy", "simplejpeg"]
NETWORKS = ["sklearn", "timm", "torch", "torchvision"]


def test_importing_regraft_loads_nothing(run_python: Run) -> None:
    assert loaded(run_python, [*HEAVY, *NETWORKS, "click"]) == []


@pytest.mark.parametrize("command", [[], ["train"], ["check"], ["evaluate"], ["predict"]])
def test_help_loads_nothing_heavy(run_python: Run, command: list[str]) -> None:
    assert loaded(run_python, [*HEAVY, *NETWORKS], *command, "--help") == []


def test_import_of_regraft_takes_no_time_of_its_own(run_python: Run) -> None:
    program = (
        "import time, sys\n"
        "start = time.perf_counter(); import regraft\n"
        "own = time.perf_counter() - start\n"
        "start = time.perf_counter(); import numpy\n"
        "print(own / (time.perf_counter() - start))"
    )
    # Against numpy's import in the same process, so that a busy machine changes little.
    ratio = min(float(run_python("-c", program).stdout) for _ in range(3))
    assert ratio < 0.5


def test_folder_to_tested_classifier_imports_no_torch(
    run_python: Run, engine_cache: Path, make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "photos", n=8, splits=("train", "val"))
    train = ["train", photos, "--run", "one", "--out", tmp_path / "runs", "--json"]
    assert loaded(run_python, NETWORKS, *train) == []
    model = tmp_path / "runs" / "one" / "model"
    assert loaded(run_python, NETWORKS, "evaluate", model, photos / "val", "--json") == []
    assert loaded(run_python, NETWORKS, "predict", model, photos / "val" / "discs") == []
    assert loaded(run_python, NETWORKS, "check", photos) == []


# -- What is in the repository --


@functools.cache
def kept_files() -> tuple[Path, ...]:
    """Files that are tracked or would be; skips the test outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")
    names = done.stdout.decode("utf-8").split("\0")
    return tuple(ROOT / name for name in names if name and (ROOT / name).is_file())


def lines_with(pattern: str) -> Iterator[str]:
    """``file:line: text`` of every match in a kept text file, this one left out."""
    for path in kept_files():
        data = path.read_bytes()
        if path == Path(__file__) or b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            if re.search(pattern, line):
                yield f"{name_of(path)}:{number}: {line.strip()[:120]}"


def test_no_path_of_a_machine_is_kept() -> None:
    anywhere = r"(?<![\w.:])/(?:root|work|(?:home|Users)/\w+)/"
    assert list(lines_with(f"{anywhere}|{re.escape(str(ROOT))}(?!\\w)")) == []


def test_no_package_registry_is_named_as_a_place_to_install_from() -> None:
    assert list(lines_with(r"pythonhosted|(?:test\.)?pypi\.org/simple|(?:extra-)?index-url")) == []


def test_no_work_is_left_as_a_note_in_the_code() -> None:
    assert list(lines_with(r"\b(?:TODO|FIXME|XXX|HACK)\b")) == []


# -- Papers --


def test_the_map_of_files_is_fresh_and_no_two_are_for_the_same() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_files.py"))
    assert read("docs/architecture.md") == made["page"](), "the map of files is stale: make docs"
    reasons = Counter(made["purpose"](path) for path in SOURCES)
    assert [reason for reason, n in reasons.items() if n > 1] == []


def test_files_that_a_page_names_are_there() -> None:
    """Pages of experiments tell of files as they were then."""
    places = [ROOT, ROOT / "src" / "regraft", *(ROOT / name for name in ("tests", "benchmarks"))]
    elsewhere = {"preprocess.py", "preprocess_2.py"}  # written by `regraft export`
    pages = [path for path in (ROOT / "docs").glob("*.md") if "experiments" not in path.name]
    missing = [
        f"{name_of(page)}: {name}"
        for page in [*pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
        for name in re.findall(r"`([\w/.-]+\.py)`", page.read_text(encoding="utf-8"))
        if name not in elsewhere and not any((place / name).is_file() for place in places)
        and not any(path.match(name) for path in SOURCES)
    ]  # fmt: skip
    assert missing == []


def test_help_page_is_fresh(run_python: Run) -> None:
    program = "import runpy, sys; sys.stdout.write(runpy.run_path(sys.argv[1])['page']())"
    done = run_python("-c", program, ROOT / "docs" / "make_help.py")
    assert done.returncode == 0, done.stderr[-2000:]
    assert read("docs/help.md") == done.stdout, "docs/help.md is stale: make docs"


def test_changelog_has_a_place_for_what_comes_next() -> None:
    assert re.search(r"^## \[?Unreleased\]?", read("CHANGELOG.md"), re.MULTILINE)


def test_licence_is_apache_2() -> None:
    assert "Apache License" in read("LICENSE")
    assert "Version 2.0, January 2004" in read("LICENSE")
    assert tomllib.loads(read("pyproject.toml"))["project"]["license"] == "Apache-2.0"


def test_each_dependency_has_its_reason() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in extras.values() for line in extra)]
    needed = {re.match(r"[\w-]+", line)[0] for line in lines}  # type: ignore[index]
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|$", read("docs/architecture.md"), re.MULTILINE)
    reasoned = {name for names, _ in rows for name in re.findall(r"`([\w-]+)`", names)}
    assert sorted(needed - reasoned) == [], "docs/architecture.md: | `name` | why |"
    assert sorted(name for name in reasoned - needed if name in NETWORKS) == []


def test_each_make_target_says_what_it_does() -> None:
    makefile = read("Makefile")
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())  # type: ignore[index]
    assert phony == set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))


# -- Errors --


def family(kind: type[errors.RegraftError]) -> list[type[errors.RegraftError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in family(child))]


KINDS = [kind for kind in family(errors.RegraftError) if kind.__module__ == "regraft.errors"]


def test_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = dict(re.findall(r"^[ │├└─]*(\w+Error) +(\d)", errors.__doc__ or "", re.MULTILINE))
    assert drawn == {kind.__name__: str(kind.exit_code) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_error_page_says_what_each_error_means(kind: type[errors.RegraftError]) -> None:
    page = read("docs/errors.md")
    row = re.search(rf"^\| `{kind.__name__}` \| (\d) \| (.+) \|$", page, re.MULTILINE)
    assert row, "docs/errors.md needs: | `Name` | exit code | first lines of its docstring |"
    assert int(row[1]) == kind.exit_code
    assert row[2] == " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


def test_error_page_shows_one_of_each_that_is_raised() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    raised = set(re.findall(r"(?<!class )\b(\w+Error)\(", source))
    shown = set(re.findall(r"^(\w+Error): \S", read("docs/errors.md"), re.MULTILINE))
    assert sorted((raised & {kind.__name__ for kind in KINDS}) - shown) == []
