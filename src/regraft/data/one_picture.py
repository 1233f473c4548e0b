"""Files that are one picture: augmented copies of it, its channels. They stay together.

Copies that a program made before training (turned, mirrored, coloured) look different enough to
escape what compares pictures, and those of one photograph on both sides of a split flatter a score.
Where names tell of which picture they are, they become a group; where they only tell that they are
copies, that is said.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from regraft.data.split_names import consists_of
from regraft.data.table import ImageTable, Reading, column
from regraft.wording import agree, count

_MADE = (
    r"aug(?:mented|mentation)?|rot(?:ated?|ation)?|flip(?:ped)?|hflip|vflip|fliplr|flipud|flip[hv]|"
    r"mirror(?:ed)?|bright(?:er|ness)?|darker|blur(?:red)?|nois[ey]|crop(?:ped)?|zoom(?:ed)?|"
    r"shear(?:ed)?|shift(?:ed)?|jitter(?:ed)?|gauss(?:ian)?|contrast"
)
# 'x_aug1', 'x-rot90', 'x_flip_lr', 'x_bright_0.8', 'x (rotated 90)'; several of them too.
_SUFFIX = re.compile(
    rf"(?P<of>.+?)(?:[\s_.(-]+(?:{_MADE})(?:[\s_.-]*(?:\d+(?:\.\d+)?|lr|ud|h|v|horizontal|vertical))?\)?)+",
    re.IGNORECASE,
)
# 'aug_x', 'augmented_0_x', as Augmentor and scripts write.
_PREFIX = re.compile(r"(?:aug(?:mented)?|rotated|flipped|mirrored)[\s_-]+(?P<of>.+)", re.IGNORECASE)
# Copies whose original is not there: more of them are no copies of one picture.
_MOST_WITHOUT_ORIGINAL = 12
# Roboflow's exports: 'x_jpg.rf.0123456789abcdef0123456789abcdef'.
_ROBOFLOW = re.compile(r"(?P<of>.+)\.rf\.[0-9a-zA-Z]{16,}")
# Keras' ImageDataGenerator: prefix, the picture's number, a chance number below ten million;
# neither with zeros before it, as days, months and times of cameras have.
_KERAS = re.compile(r"(?P<of>.*_(?:0|[1-9]\d{0,4}))_(?P<chance>0|[1-9]\d{0,6})")
_FOLDERS = frozenset(
    """aug augment augmented augmentation augmentations flipped flip rotated rotate rotation
    rotations mirrored""".split()  # noqa: SIM905
)
_CHANNELS = (
    re.compile(r"(?P<of>.+?)[\s_.-]+(?:ch|channel|c|w)[\s_-]?0?(?P<channel>\d)", re.IGNORECASE),
    re.compile(
        r"(?P<of>.+?)[\s_.-]+(?P<channel>dapi|hoechst|[ey]?gfp|[rcy]fp|mcherry|fitc|tritc|cy3|cy5|"
        r"texasred|alexa\d+|brightfield|bf|phase|dic|nir|rededge)",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<of>.+?)[\s_.-]+(?P<channel>r|g|b|red|green|blue)", re.IGNORECASE),
)


def kept_together(table: ImageTable) -> ImageTable:
    """The table with the files of one picture as groups, where their names tell; what the user
    says belongs together stays as it is.

    Examples
    --------
    >>> paths = ["cat/1.png", "cat/1_rot90.png", "cat/2.png", "dog/3.png", "dog/3_rot90.png"]
    >>> table = kept_together(ImageTable.from_paths(paths, ["cat", "cat", "cat", "dog", "dog"]))
    >>> table.groups.tolist()
    ['cat/1', 'cat/1', None, 'dog/3', 'dog/3']
    """
    if not table.classes:
        return table
    table = _grouped(table, _channels_of(table), _of_channels)
    keras = _keras_names(table.paths)
    table = _grouped(table, _copies_of(table, keras), _of_copies)
    return _with_copies_nobody_knows(table, keras)


def is_told(table: ImageTable) -> bool:
    """Whether the groups of a table were read here, so that most images are in none."""
    return any(reading.kind in ("augmented", "channels") for reading in table.readings)


Words = Callable[[ImageTable, list[Sequence[int]]], Reading]
# Of each picture that Keras may have copied: rows and their numbers by chance.
KerasNames = Mapping[str, Sequence[tuple[int, int]]]


def _grouped(table: ImageTable, sets: Mapping[str, Sequence[int]], reading: Words) -> ImageTable:
    """With each of the sets of rows as a group; rows that have one already keep it."""
    if not sets:
        return table
    groups = column([None] * len(table)) if table.groups is None else table.groups.copy()
    root = table.root or table.source
    for key, rows in sets.items():
        of = [row for row in rows if groups[row] is None]
        groups[of] = os.path.relpath(key, root) if root and key.startswith(root) else key
    told = reading(table, list(sets.values()))
    return replace(table, groups=groups, readings=(*table.readings, told))


def _of_copies(table: ImageTable, sets: list[Sequence[int]]) -> Reading:
    n, them = sum(map(len, sets)), agree(len(sets), "[it|them]")
    return Reading(
        "augmented",
        f"by their names, {count(n, 'image')} are {count(len(sets), 'picture')} and augmented "
        f"copies of {them}, such as {_such_as(table, sets)}; those of one picture stay on one "
        "side of every split that is made here",
        "better give the originals alone: training makes such changes itself (--augment), and a "
        "test is of photographs",
    )


def _of_channels(table: ImageTable, sets: list[Sequence[int]]) -> Reading:
    one = sets[0]
    names = [table.paths[row] for row in one][:3]
    files = ", ".join(f"Image.open({os.path.basename(name)!r}).convert('L')" for name in names)
    blank = ["Image.new('L', size)"] * (3 - len(names))
    return Reading(
        "channels",
        f"{count(sum(map(len, sets)), 'file')} seem to be the channels of "
        f"{count(len(sets), 'picture')}, such as {_such_as(table, sets)}; each is read as a "
        "picture of its own",
        "combine them to one RGB picture: "
        f"Image.merge('RGB', [{', '.join([files, *blank])}]) (from PIL import Image)",
    )


def _such_as(table: ImageTable, sets: list[Sequence[int]]) -> str:
    largest = max(sets, key=len)
    names = [os.path.basename(table.paths[row]) for row in largest]
    return " and ".join(repr(name) for name in names[:2])


def _copies_of(table: ImageTable, keras: KerasNames) -> dict[str, list[int]]:
    """Rows of each picture that has copies, by its folder and name.

    A word may be the subject's own: 'grape_rot_17' is no picture 'grape', turned. So without that
    picture itself they are copies only where they are few, and no more than half of their class.
    """
    stems = functools.cache(lambda: {_key(path) for path in table.paths})
    of_row = _keras_copies(table.paths, keras)
    by_words = set[int]()
    for row, folder, stem in _stems(table.paths):
        if of := _original(folder, stem, stems):
            of_row[row] = of
            if not _ROBOFLOW.fullmatch(stem):
                by_words.add(row)
    if not of_row:  # as mostly: nothing is kept of a million names
        return {}
    marked, rows = {*of_row.values()}, defaultdict[str, list[int]](list)
    for row, folder, stem in _stems(table.paths):
        key = of_row.get(row) or os.path.join(folder, stem)
        if key in marked:
            rows[key].append(row)
    sets = {key: rows[key] for key in sorted(marked) if len(rows[key]) > 1}
    n_of = Counter(table.labels)
    return {
        key: found
        for key, found in sets.items()
        if not by_words.issuperset(found)
        or len(found) <= min(_MOST_WITHOUT_ORIGINAL, n_of[table.labels[found[0]]] / 2)
    }


def _original(folder: str, stem: str, stems: Callable[[], set[str]]) -> str | None:
    """Of which picture this is a copy by its name; None if it is none."""
    inner = stem
    for pattern in (_ROBOFLOW, _SUFFIX, _PREFIX):
        if match := pattern.fullmatch(inner):
            inner = match["of"]
    if consists_of(os.path.basename(folder), _FOLDERS):
        above = os.path.dirname(folder)
        name = next((n for n in (inner, stem) if os.path.join(above, n) in stems()), None)
        return os.path.join(above, name) if name else None
    return os.path.join(folder, inner) if inner != stem else None


def _keras_names(paths: Iterable[str]) -> KerasNames:
    found = defaultdict[str, list[tuple[int, int]]](list)
    for row, folder, stem in _stems(paths):
        if match := _KERAS.fullmatch(stem):
            found[os.path.join(folder, match["of"])].append((row, int(match["chance"])))
    return found


def _keras_copies(paths: Iterable[str], names: KerasNames) -> dict[int, str]:
    """Rows that Keras made, each with the picture that it is of.

    Numbers by chance are not in a row; those of the frames of a film are.
    """
    n_in = Counter(map(os.path.dirname, paths)) if names else Counter[str]()
    sets = {
        of: made
        for of, made in names.items()
        if 1 < len(made) <= n_in[os.path.dirname(of)] / 2 and _are_by_chance([n for _, n in made])
    }
    n_made = Counter[str]()
    for of, made in sets.items():
        n_made[os.path.dirname(of)] += len(made)
    return {
        row: of
        for of, made in sets.items()
        if 2 * n_made[os.path.dirname(of)] > n_in[os.path.dirname(of)]  # the folder is Keras' work
        for row, _ in made
    }


def _are_by_chance(numbers: Sequence[int]) -> bool:
    """Numbers of up to four digits and more, far apart: no count of frames, no sizes."""
    spread = max(numbers) - min(numbers)
    return max(numbers) > 99 and spread > 20 * len(numbers)


def _with_copies_nobody_knows(table: ImageTable, keras: KerasNames) -> ImageTable:
    """Told, where a folder says that its images are copies and no name says of which."""
    groups = table.groups
    if of_one_name := _keras_of_one_prefix(table, keras):
        return replace(table, readings=(*table.readings, of_one_name))
    found = [
        path
        for row, path in enumerate(table.paths)
        if (groups is None or groups[row] is None)
        and consists_of(name := os.path.basename(os.path.dirname(path)), _FOLDERS)
        and name != table.labels[row]
    ]
    if not found:
        return table
    folder = os.path.basename(os.path.dirname(found[0]))
    told = (
        f"{count(len(found), 'image')} in folders such as {folder!r} may be augmented copies of "
        "others, and no name says of which, so copies of one picture may be in train and in test"
    )
    mend = (
        "leave those folders out (training makes such changes itself, --augment); or list the "
        "images in a CSV with the columns path,label,group"
    )
    return replace(table, readings=(*table.readings, Reading("copies-unsaid", told, mend)))


def _keras_of_one_prefix(table: ImageTable, keras: KerasNames) -> Reading | None:
    """Told, where most names are of Keras' making and all have one number: 'aug_0_1234.jpg'."""
    found = {
        of: [chance for _, chance in made]
        for of, made in keras.items()
        if of.endswith("_0") and len(made) > 2
    }
    n_files = sum(map(len, found.values()))
    if 2 * n_files <= len(table) or not all(map(_are_by_chance, found.values())):
        return None
    return Reading(
        "copies-unsaid",
        f"{count(n_files, 'image')} are named as Keras names augmented copies, such as "
        f"{os.path.basename(next(iter(found))) + '_1234.jpg'!r}, and no name says of which picture "
        "each is, so copies of one may be in train and in test",
        "give the originals instead: training makes such changes itself (--augment)",
    )


def _channels_of(table: ImageTable) -> dict[str, list[int]]:
    """Rows of each picture whose channels are files of their own, if most pictures are so."""
    for pattern in _CHANNELS:
        rows = defaultdict[str, dict[str, int]](dict)
        n_others = 0
        for row, folder, stem in _stems(table.paths):
            if match := pattern.fullmatch(stem):
                rows[os.path.join(folder, match["of"])][match["channel"].casefold()] = row
            elif 10 * (n_others := n_others + 1) > len(table):  # too many already
                break
        sets = {of: list(found.values()) for of, found in rows.items() if len(found) > 1}
        same = {tuple(sorted(rows[of])) for of in sets}
        n_files = sum(map(len, sets.values()))
        if len(sets) > 1 and len(same) == 1 and 10 * n_files >= 9 * len(table):
            return sets
    return {}


def _stems(paths: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Row, folder and name without its ending of each path."""
    for row, path in enumerate(paths):
        yield row, *os.path.split(_key(path))


def _key(path: str) -> str:
    return os.path.splitext(path)[0]
