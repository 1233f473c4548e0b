"""A taught folder: plain folders and a journal, from which nothing is ever lost."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.errors import DataError, UsageError
from regraft.teaching.lesson import Taught, Teacher, what_is_missing
from regraft.teaching.names import class_name
from regraft.teaching.order import next_pictures
from regraft.teaching.project import New, Project, is_held
from regraft.teaching.sight import Sight


def pictures(n: int, start: int = 0) -> list[New]:
    return [New(f"p{i}.jpg", f"picture {i}".encode(), ".jpg") for i in range(start, start + n)]


def on_disk(folder: Path) -> dict[str, bytes]:
    """All files outside our own folder, by their paths."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".regraft" not in path.parts
    }


def state(project: Project) -> dict[int, tuple[str, str]]:
    return {one.number: (one.path, one.digest) for one in project.pictures.values()}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project(tmp_path / "taught") as made:
        yield made


@pytest.fixture
def again(project: Project) -> Iterator[Callable[[], Project]]:
    """The same folder, opened anew as a new process would."""
    opened = [project]

    def reopen() -> Project:
        opened[-1].close()
        opened.append(Project(project.folder))
        return opened[-1]

    yield reopen
    opened[-1].close()


def test_a_label_is_a_folder(project: Project) -> None:
    a, b, c = project.add(pictures(3))
    project.label([a.number, b.number], "red ants")
    assert sorted(on_disk(project.folder)) == ["p2.jpg", "red ants/p0.jpg", "red ants/p1.jpg"]
    project.label([b.number], None)
    project.rename_class("red ants", "ants")
    project.remove([c.number])
    assert sorted(on_disk(project.folder)) == ["ants/p0.jpg", "p1.jpg"]
    assert [one.label for one in project.shown()] == ["ants", None]
    assert (project.folder / ".regraft/trash/3-p2.jpg").read_bytes() == b"picture 2"


def test_equal_names_are_numbered_and_merging_keeps_both(project: Project) -> None:
    project.add(pictures(1), "ants")
    project.add([New("P0.JPG", b"another", ".jpg")], "ants")
    project.add(pictures(1, 0), "bees")
    project.rename_class("bees", "ants")
    assert sorted(on_disk(project.folder)) == ["ants/P0-2.jpg", "ants/p0-3.jpg", "ants/p0.jpg"]
    assert project.classes == ("ants",)
    assert not (project.folder / "bees").exists()


ACTIONS = st.lists(
    st.sampled_from(
        ["add", "label", "unlabel", "remove", "class", "rename", "drop", "undo", "redo"]
    ),
    max_size=14,
)


def act(project: Project, action: str, rng: random.Random) -> None:
    numbers = [one.number for one in project.shown()]
    some = rng.sample(numbers, min(len(numbers), rng.randint(0, 3)))
    name = rng.choice(["ants", "bees", "Käfer"])
    try:
        if action == "add":
            project.add(pictures(rng.randint(1, 3), rng.randint(0, 5)), rng.choice([None, name]))
        elif action in ("label", "unlabel"):
            project.label(some, name if action == "label" else None)
        elif action == "remove":
            project.remove(some)
        elif action == "class":
            project.add_class(name)
        elif action == "rename":
            project.rename_class(name, rng.choice(["ants", "moths"]))
        elif action == "drop":
            project.remove_class(name)
        else:
            getattr(project, action)()
    except UsageError:
        pass


@settings(max_examples=60, deadline=None)
@given(ACTIONS, st.integers(0, 2**32))
def test_the_journal_replays_to_the_disk_and_undo_leads_back(
    make_room: Callable[[str], Path], actions: list[str], seed: int
) -> None:
    folder, rng = make_room("t") / "taught", random.Random(seed)
    with Project(folder) as project:
        project.add(pictures(4), "ants")
        for action in actions:
            act(project, action, rng)
            assert set(on_disk(folder)) == {one.path for one in project.shown()}
        live = state(project), project.classes
    with Project(folder) as project:
        assert (state(project), project.classes) == live
        after = on_disk(folder)
        n_undone = 0
        while project.undoable:
            project.undo()
            n_undone += 1
        assert on_disk(folder) == {}
        for _ in range(n_undone):
            project.redo()
        assert on_disk(folder) == after
    shutil.rmtree(folder)


@pytest.mark.parametrize("n_moved", range(4))
def test_what_a_kill_left_half_moved_is_moved_on(
    project: Project, again: Callable[[], Project], n_moved: int
) -> None:
    numbers = [one.number for one in project.add(pictures(3))]
    project.label(numbers, "ants")
    for at in range(n_moved, 3):  # as if the process had been killed before these
        os.rename(project.folder / f"ants/p{at}.jpg", project.folder / f"p{at}.jpg")
    assert sorted(on_disk(again().folder)) == ["ants/p0.jpg", "ants/p1.jpg", "ants/p2.jpg"]


@pytest.mark.parametrize("n_cut", [1, 20, 60])
def test_a_line_that_a_kill_cut_off_was_not_done(
    project: Project, again: Callable[[], Project], n_cut: int
) -> None:
    project.add(pictures(2))
    project.add_class("ants")
    path = project.journal.path
    path.write_bytes(path.read_bytes()[:-n_cut])
    other = again()
    assert other.version == 1
    assert other.add_class("bees").number == 2
    assert again().classes == ("bees",)


def test_a_damaged_journal_is_refused_and_nothing_is_lost(project: Project) -> None:
    project.add(pictures(2))
    project.add_class("ants")
    project.close()
    lines = project.journal.path.read_text().splitlines()
    project.journal.path.write_text("\n".join(["{}", *lines[1:]]) + "\n")
    with pytest.raises(DataError, match="line 1 of the journal is damaged"):
        Project(project.folder)
    assert len(on_disk(project.folder)) == 2


def test_a_folder_is_taught_by_one_process(project: Project) -> None:
    with pytest.raises(UsageError, match="another process teaches"):
        Project(project.folder)
    project.close()
    Project(project.folder).close()


def test_what_changed_on_disk_is_taken_over(project: Project) -> None:
    a, b = project.add(pictures(2), "ants")
    (project.folder / "bees").mkdir()
    os.rename(project.path(a), project.folder / "bees/p0.jpg")
    project.path(b).unlink()
    (project.folder / "bees/new.jpg").write_bytes(b"new")
    project.found({"bees/new.jpg": "d1"}, {a.number: "bees/p0.jpg", b.number: ""}, {})
    assert [(one.path, one.label) for one in project.shown()] == [
        ("bees/p0.jpg", "bees"),
        ("bees/new.jpg", "bees"),
    ]
    project.undo()  # of the adding: what still lies where it was put
    assert "bees/new.jpg" in on_disk(project.folder)


@pytest.mark.parametrize(
    "name",
    ["", "  ", "a/b", "..", "a\\b", ".hidden", "train", "Test", "CON", "x" * 200, "a\0b", "e."],
)
def test_names_that_could_be_no_class_are_refused(project: Project, name: str) -> None:
    with pytest.raises(UsageError):
        project.add_class(name)
    assert project.version == 0


def test_class_names_are_one_whatever_their_form() -> None:
    assert class_name("Ka\u0308fer") == "Käfer"


def test_a_burst_is_set_aside_as_a_whole(project: Project) -> None:
    burst = [New(f"b{i}.jpg", f"b{i}".encode(), ".jpg", "burst 1") for i in range(9)]
    assert len({one.is_held for one in project.add(burst)}) == 1
    assert 0.15 < sum(is_held(f"x{i}") for i in range(1000)) / 1000 < 0.25


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\x\\y.exe", "<img onerror=1>.jpg", "nul.png"]
)
def test_hostile_file_names_stay_in_the_folder(project: Project, name: str) -> None:
    (one,) = project.add([New(name, b"x", ".jpg")])
    assert project.path(one).parent == project.folder
    assert project.path(one).exists()


# -- What it learns -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(make_photos: Callable[..., Path], make_room: Callable[[str], Path]) -> Path:
    """Sixty drawn pictures of two shapes, in class folders."""
    folder = make_room("drawn")
    return make_photos(folder, classes=("discs", "stripes"), splits={"": 30})


@pytest.fixture
def taught(
    engine_cache: Path, drawn: Path, tmp_path: Path
) -> Iterator[tuple[Project, Sight, Taught]]:
    from regraft.backbones import catalog
    from regraft.features import engines

    with Project(tmp_path / "taught") as project:
        for folder in sorted(path for path in drawn.iterdir() if path.is_dir()):
            files = sorted(folder.iterdir())
            new = [New(file.name, file.read_bytes(), file.suffix) for file in files]
            project.add(new[:24], folder.name)
            project.add(new[24:])
        sight = Sight(engines.locate(catalog.resolve("default"), offline=True))
        sight.look(project)
        yield project, sight, Teacher().teach(project, sight)


def test_the_score_is_that_of_what_was_set_aside(
    taught: tuple[Project, Sight, Taught],
) -> None:
    project, _, learnt = taught
    held = [one for one in project.shown() if one.label and one.is_held]
    assert learnt.score is not None
    assert learnt.score.n == len(held)
    assert learnt.classifier is not None
    own = learnt.classifier.predict([project.path(one) for one in held])
    right = np.mean([label == one.label for label, one in zip(own, held, strict=True)])
    assert learnt.score.accuracy.value == pytest.approx(right)


def test_wrong_labels_come_first_among_the_suspects(
    taught: tuple[Project, Sight, Taught],
) -> None:
    project, sight, _ = taught
    a, b, *_ = project.classes
    wrong = [one.number for one in project.shown() if one.label == a][:2]
    project.label(wrong, b)
    again = Teacher().teach(project, sight)
    assert set(wrong) <= {suspect.number for suspect in again.suspects[:4]}
    assert all(s.suggested == a for s in again.suspects if s.number in wrong)


def test_what_is_asked_next_has_no_twins_and_a_share_that_chance_picks(
    taught: tuple[Project, Sight, Taught],
) -> None:
    project, sight, learnt = taught
    unsorted = [one for one in project.shown() if one.label is None]
    labelled = [one for one in project.shown() if one.label]
    asked = next_pictures(unsorted, labelled, learnt.proba, sight, n=6)
    assert len({one.number for one in asked}) == len(asked) == min(6, len(unsorted))
    assert asked == next_pictures(unsorted[::-1], labelled, learnt.proba, sight, n=6)


def test_nothing_is_learnt_from_one_class_and_what_is_missing_is_said(project: Project) -> None:
    class Blind:
        def __contains__(self, one: object) -> bool:
            return True

    assert Teacher().teach(project, Blind()).missing == "add a first class"
    project.add(pictures(3), "ants")
    assert Teacher().teach(project, Blind()).missing == "add a second class"
    project.add_class("bees")
    assert Teacher().teach(project, Blind()).missing == "put 2 pictures into bees"


def test_a_label_that_only_scores_is_said_not_to_teach(project: Project) -> None:
    project.add(pictures(60))
    held = next(one for one in project.shown() if one.is_held)
    teaches = next(one for one in project.shown() if not one.is_held)
    classes = ["ants", "bees"]
    for one, n in ((held, "2 more pictures"), (teaches, "1 more picture")):
        project.label([one.number], "ants")
        labelled = [one for one in project.shown() if one.label]
        only_scores = "those marked test do not count: they only score"
        assert what_is_missing(labelled, classes) == f"put {n} into ants ({only_scores})"


def test_a_class_with_too_few_pictures_waits_and_the_others_are_learnt(
    taught: tuple[Project, Sight, Taught],
) -> None:
    project, sight, before = taught
    one = next(one for one in project.shown() if not one.is_held)
    project.label([one.number], "newts")
    learnt = Teacher().teach(project, sight)
    assert learnt.waiting == ("newts",)
    assert before.classifier is not None
    assert learnt.classifier is not None
    assert learnt.classifier.classes == before.classifier.classes


def test_near_copies_are_set_aside_together(
    engine_cache: Path, drawn: Path, tmp_path: Path
) -> None:
    import io

    from PIL import Image

    from regraft.backbones import catalog
    from regraft.features import engines

    file = next(drawn.rglob("*.png"), None) or next(drawn.rglob("*.jpg"))
    with Project(tmp_path / "taught") as project:
        sight = Sight(engines.locate(catalog.resolve("default"), offline=True))
        project.add([New("a.png", file.read_bytes(), file.suffix)])
        sight.look(project)
        for quality in (60, 75, 90):
            stream = io.BytesIO()
            Image.open(file).convert("RGB").save(stream, "JPEG", quality=quality)
            project.add([New("b.jpg", stream.getvalue(), ".jpg")])
            sight.look(project)
        assert len({one.is_held for one in project.shown()}) == 1
        assert len({one.together or one.digest for one in project.shown()}) == 1


def test_what_goes_back_beside_a_foreign_file_takes_no_other_ones_place(tmp_path: Path) -> None:
    """As one that a killed `add` has left."""
    with Project(tmp_path / "taught") as project:
        project.add([New("p.jpg", b"one", ".jpg"), New("p.jpg", b"two", ".jpg")], "ants")
        project.label([one.number for one in project.shown()], "bees")
        (project.folder / "ants").mkdir(exist_ok=True)
        (project.folder / "ants" / "p.jpg").write_bytes(b"nobody's")
        project.undo()
        assert sorted(project.path(one).read_bytes() for one in project.shown()) == [b"one", b"two"]
        assert {one.label for one in project.shown()} == {"ants"}
        assert (project.folder / "ants" / "p.jpg").read_bytes() == b"nobody's"
