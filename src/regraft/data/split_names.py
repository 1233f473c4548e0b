"""What folders, tables and cells call train, val and test: the exact names, and words inside names.

'seg_train' is not 'train', but it says so; 'steam train' says so too and may be a class. So a name
is taken apart here, and who decides looks at its neighbours (see ``layouts``).
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import unicodedata
from typing import NamedTuple

from regraft.data.split_words import BESIDE, bare, split_in_other_words
from regraft.data.table import SPLIT_NAMES
from regraft.wording import near_names

EVAL = "eval"
_WORDS = {
    **SPLIT_NAMES,
    **dict.fromkeys(("trn",), "train"),
    **dict.fromkeys(("vali", "development"), "val"),
    **dict.fromkeys(("tst", "holdout", "heldout"), "test"),
    # The test where there is no other, else val.
    **dict.fromkeys(("eval", "evaluation"), EVAL),
}
# What stands beside the word and changes nothing: 'Train Data', 'test_images', 'val2017'.
_FILLERS = frozenset(
    """set sets data dataset datasets image images img imgs jpegimages picture pictures pic pics
    photo photos photograph photographs sample samples split splits part folder folders dir file
    files jpg jpeg png raw all x y the of for and daten datensatz bilder menge""".split()  # noqa: SIM905
)
# Fillers that are written into the word: 'trainset', 'testdata'.
_GLUED = re.compile(
    f"({'|'.join(sorted(_WORDS, key=len, reverse=True))})"
    "(set|sets|data|dataset|images|imgs|img|daten|datensatz|bilder|menge)"
)
# What a folder is called that holds everything, or that stands beside the images of other tasks.
_OF_IMAGES = _FILLERS - {"x", "y", "the", "of", "for", "and"}
_CONTAINERS = _OF_IMAGES | frozenset(
    """label labels mask masks annotation annotations segmentation segmentations groundtruth gt
    target targets input inputs output outputs xml json txt csv bbox bboxes boxes
    """.split()  # noqa: SIM905
)
_BESIDE_CONTAINERS = frozenset(("class", "object"))  # 'SegmentationClass'
# What numbered parts of one set are called: 'images_1', 'HAM10000_images_part_2', 'data_batch_3'.
_PARTS = frozenset(("part", "parts", "images", "imgs", "data", "batch", "chunk", "archive"))


class SplitName(NamedTuple):
    """A name that says a split.

    Attributes
    ----------
    split : 'train', 'val', 'test' or `EVAL`
    rest : tuple of str
        The other words, without those that change nothing.
    is_sure : bool
        Whether it says so by itself; a word of another language, or 'trainval', does only beside
        another split.
    """

    split: str
    rest: tuple[str, ...]
    is_sure: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether the name says a split and nothing else."""
        return self.is_sure and not self.rest


def split_name(name: str) -> SplitName | None:
    """The split that a name says, and its other words; None if it says none, or several.

    Examples
    --------
    >>> split_name("Train Data"), split_name("seg_test")[:2]
    (SplitName(split='train', rest=(), is_sure=True), ('test', ('seg',)))
    >>> split_name("trainers"), split_name("train_test_split")
    (None, None)
    >>> split_name("datos de entrenamiento")
    SplitName(split='train', rest=(), is_sure=False)
    """
    words = words_of(name)
    found = {_WORDS[word] for word in words if word in _WORDS}
    if not found:
        return _in_other_words(words)
    if found == {"train", "val"}:  # 'train_val': what teaches, where another part is tested
        return SplitName("train", _rest(words), is_sure=False)
    return SplitName(found.pop(), _rest(words)) if len(found) == 1 else None


def _in_other_words(words: list[str]) -> SplitName | None:
    said = {word: split for word in words if (split := split_in_other_words(word))}
    if len(set(said.values())) != 1:
        return None
    rest = _rest([word for word in words if word not in said and bare(word) not in BESIDE])
    return SplitName(next(iter(said.values())), rest, is_sure=False)


def _rest(words: list[str]) -> tuple[str, ...]:
    return tuple(w for w in words if w not in _WORDS and w not in _FILLERS and not w.isdigit())


def is_container(name: str) -> bool:
    """Whether a name says that images are in it (or labels, masks), and nothing of which.

    Examples
    --------
    >>> is_container("JPEGImages"), is_container("SegmentationClass"), is_container("part_1")
    (True, True, True)
    >>> is_container("ants"), is_container("Class 1"), is_container("label_0")
    (False, False, False)
    """
    words = words_of(name)
    if any(word.isdigit() for word in words):
        return are_parts([name])
    return any(w in _CONTAINERS for w in words) and all(
        w in _CONTAINERS or w in _BESIDE_CONTAINERS for w in words
    )


def is_beside(name: str) -> bool:
    """Whether a container is of what goes with images (labels, masks), and not of these.

    Examples
    --------
    >>> is_beside("annotations"), is_beside("SegmentationClass"), is_beside("images")
    (True, True, False)
    """
    return not _OF_IMAGES.intersection(words_of(name))


def are_parts(names: list[str]) -> bool:
    """Whether names are those of numbered parts of one set; of a single name, if it says no more.

    Examples
    --------
    >>> are_parts(["HAM10000_images_part_1", "HAM10000_images_part_2"]), are_parts(["a1", "a2"])
    (True, False)
    """
    plain = {tuple(word for word in words_of(name) if not word.isdigit()) for name in names}
    if len(plain) != 1 or not all(any(w.isdigit() for w in words_of(name)) for name in names):
        return False
    (words,) = plain
    is_part = any(word in _PARTS for word in words)
    return is_part and (len(names) > 1 or all(word in _PARTS for word in words))


def words_of(name: str) -> list[str]:
    """The words of a name in lower case, at whatever joint: blank, underscore, capital, digit.

    Examples
    --------
    >>> words_of("TrainingSet-2017"), words_of("test_data"), words_of("valset")
    (['training', 'set', '2017'], ['test', 'data'], ['val', 'set'])
    """
    plain = unicodedata.normalize("NFC", name)
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).casefold()
    apart = re.sub(r"\b(hold|held)[\s_-]?out", r"\1out", apart)
    words = re.findall(r"[^\W\d_]+|\d+", apart)
    return [part for word in words for part in _unglued(word)]


@functools.lru_cache(maxsize=4096)
def consists_of(name: str, words: frozenset[str]) -> bool:
    """Whether a name is made of these words alone; asked of a folder for each image in it.

    Examples
    --------
    >>> consists_of("Masks-2", frozenset({"masks", "2"})), consists_of("", frozenset())
    (True, False)
    """
    found = words_of(name)
    return bool(found) and words.issuperset(found)


def _unglued(word: str) -> tuple[str, ...]:
    glued = None if word in _WORDS else _GLUED.fullmatch(word)
    return glued.groups() if glued else (word,)


def renaming(path: str) -> str:
    """The line that renames a folder whose name all but is that of a split; '' for any other, and
    for what lies in an archive.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> for name in ("trian", "leaves"):
    ...     os.mkdir(os.path.join(folder, name))
    >>> renaming(f"{folder}/trian").replace(folder, "photos"), renaming(f"{folder}/leaves")
    ('mv photos/trian photos/train', '')
    """
    if not os.path.isdir(path):
        return ""
    folder, name = os.path.split(path.rstrip("/\\"))
    near = near_names(name, ("train", "val", "test"), n=1, cutoff=0.75)
    return shlex.join(["mv", path, os.path.join(folder, near[0])]) if near else ""
