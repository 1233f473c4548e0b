"""Listed files that lie elsewhere: taken where one fits, told where several could be meant."""

from __future__ import annotations

from pathlib import Path

from regraft.data.located import located


def test_files_that_could_be_several_are_told_where_others_are_found(tmp_path: Path) -> None:
    for place in ("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/3.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"")
    listed = ["1.jpg", "2.jpg", "3.jpg"]
    source, written = str(tmp_path / "labels.csv"), [str(tmp_path / name) for name in listed]
    paths, readings = located(source, listed, written)
    assert paths == [str(tmp_path / "a/1.jpg"), str(tmp_path / "a/2.jpg"), written[2]]
    told = readings[-1]
    assert "1 listed file lies in several folders, and none of them is taken: '3.jpg'" in told.words
    assert all(str(tmp_path / place) in told.words for place in ("a/3.jpg", "b/3.jpg"))
    assert told.mend == "write the folder into the paths"
