"""The generated pages of the reference are up to date."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["command-line.md", "settings.md", "errors.md"])
def test_a_generated_page_is_what_the_script_makes(name):
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "scripts" / "make_reference.py")
    making = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(making)
    page = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert page == making.pages()[name], "run python scripts/make_reference.py"
