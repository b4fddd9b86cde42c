"""What the documentation shows is what the code does."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_splits_is_what_the_functions_cut():
    drawing = script("draw_splits")
    assert (ROOT / "docs" / "splits.svg").read_text(encoding="utf-8") == drawing.svg(drawing.rows())
