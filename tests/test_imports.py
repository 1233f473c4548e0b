"""OpenVINO's reports to its makers stay out; who asks for the converter gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_building_an_engine_imports_no_telemetry(
    run_python: Any, cache: Path, tmp_path: Path
) -> None:
    program = (
        "import sys\n"
        "from regraft.backbones import catalog\n"
        "from regraft.features import engines\n"
        "built = engines.locate(catalog.resolve('random:test_resnet'), device='cpu')\n"
        "built.start(n_threads=1)\n"
        "assert built.info.runtime.startswith('openvino'), built.info\n"
        "unwanted = ['openvino_telemetry', 'openvino.tools.ovc']\n"
        "print([name for name in unwanted if name in sys.modules])\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    done = run_python("-c", program, env={"HOME": str(home), "CI": ""})
    assert done.stdout.strip() == "[]", done.stderr
    assert not (home / "intel").exists(), "where the telemetry keeps the user's number"


def test_the_converter_is_there_for_who_asks(run_python: Any) -> None:
    program = (
        "from regraft.features.openvino_engine import openvino\n"
        "print(openvino.convert_model.__name__)\n"
    )
    done = run_python("-c", program)
    assert done.stdout.split() == ["_convert_model"], done.stderr
