"""JSON that says the label of each image, in the forms that programs write, as rows of one kind.

A list of objects or of pairs; an object of names; an object of classes with their images; images,
annotations and categories as COCO's, if no annotation is a box; FiftyOne's classes and labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regraft.data.image_files import has_image_name

Records = list[dict[str, Any]]
# What an annotation of COCO has that says where something is.
_WHERE = frozenset(("bbox", "segmentation", "keypoints", "segments_info"))


def records_of(content: Any) -> Records:
    """One object for each image.

    Raises
    ------
    ValueError
        It is of none of these forms.

    Examples
    --------
    >>> records_of({"1.jpg": "ants", "2.jpg": "bees"})
    [{'path': '1.jpg', 'label': 'ants'}, {'path': '2.jpg', 'label': 'bees'}]
    >>> records_of({"ants": ["1.jpg"], "bees": ["2.jpg"]}) == records_of([["1.jpg", "ants"],
    ...                                                                   ["2.jpg", "bees"]])
    True
    """
    for read in (_listed, _by_name, _by_class, _of_categories, _of_numbers):
        found = read(content)
        if found:
            return found
    raise ValueError("it is neither a list of objects nor one object of file names and labels")


def _listed(content: Any) -> Records:
    """Objects, or pairs of a name and a label."""
    if not isinstance(content, list):
        return []
    if all(isinstance(one, dict) for one in content):
        return content
    are_pairs = all(isinstance(one, list) and len(one) == 2 for one in content)
    if not are_pairs or not all(_is_name(name) for name, _ in content):
        return []
    return [{"path": path, "label": label} for path, label in content]


def _by_name(content: Any) -> Records:
    """{"1.jpg": "ants"}, {"1.jpg": {"label": "ants", "age": 3}}"""
    if not isinstance(content, dict) or not all(map(has_image_name, content)):
        return []
    return [
        {"path": path, **(said if isinstance(said, dict) else {"label": said})}
        for path, said in content.items()
    ]


def _by_class(content: Any) -> Records:
    """{"ants": ["1.jpg", "2.jpg"]}"""
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        return []
    rows = [{"path": path, "label": label} for label, paths in content.items() for path in paths]
    return rows if all(_is_name(row["path"]) for row in rows) else []


def _of_categories(content: Any) -> Records:
    """COCO's form, as iNaturalist's, where an annotation says what a whole image is."""
    if not isinstance(content, dict):
        return []
    images, said, kinds = (content.get(key) for key in ("images", "annotations", "categories"))
    if not (_are_objects(images) and _are_objects(said) and _are_objects(kinds)):
        return []
    assert images is not None
    assert said is not None
    assert kinds is not None
    if any(not _WHERE.isdisjoint(one) or "category_id" not in one for one in said):
        return []
    name_of = {kind.get("id"): kind.get("name", kind.get("id")) for kind in kinds}
    labels: dict[Any, dict[Any, None]] = {}
    for one in said:
        labels.setdefault(one.get("image_id"), {})[
            name_of.get(one["category_id"], one["category_id"])
        ] = None
    return [
        {"path": image.get("file_name"), "label": _one_of(list(labels.get(image.get("id"), {})))}
        for image in images
    ]


def _of_numbers(content: Any) -> Records:
    """FiftyOne's: {"classes": ["ants", "bees"], "labels": {"1": 0}}; names have no extension."""
    if not isinstance(content, Mapping):
        return []
    classes, labels = content.get("classes"), content.get("labels")
    if not isinstance(classes, list) or not isinstance(labels, dict):
        return []
    known = range(len(classes))
    if not all(isinstance(place, int) and place in known for place in labels.values()):
        return []
    return [{"id": name, "label": classes[place]} for name, place in labels.items()]


def _one_of(labels: list[Any]) -> Any:
    """The label; several of one image stay a list, which is refused as such."""
    return labels[0] if len(labels) == 1 else labels or None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and has_image_name(value)


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
