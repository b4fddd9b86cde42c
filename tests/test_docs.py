"""What the documentation shows is what the code does."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from cnn_lstm_hyperopt.cli import app

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["command-line.md", "settings.md", "errors.md"])
def test_a_generated_page_is_what_the_script_makes(name):
    page = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert page == script("make_reference").pages()[name], "run python scripts/make_reference.py"


def test_the_picture_of_the_splits_is_what_the_functions_cut():
    drawing = script("draw_splits")
    assert (ROOT / "docs" / "splits.svg").read_text(encoding="utf-8") == drawing.svg(drawing.rows())


DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
SITE = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
PROGRAM = r"^(?:\$ )?(?:\.venv/bin/)?(?:(cnn-lstm-hyperopt)|python scripts/run_cnn_lstm_hyperopt\.py) "
OURS = re.compile(PROGRAM + r"([^|>]*?)(?:\s+#.*)?$")


def commands():
    """Every command line of ours in a block of the documentation, as the words after the program's name."""
    for page in PAGES:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if (found := OURS.match(line.strip())) and "…" not in line:
                    words = shlex.split(found[2])
                    yield pytest.param(
                        words if found[1] else ["run", *words], id=f"{page.relative_to(ROOT)}: {line.strip()[:70]}"
                    )


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_in_the_documentation_is_one(words):
    app.parse_args(words, print_error=False, exit_on_error=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_commands_within_sentences_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"`cnn-lstm-hyperopt ([a-z]+)", text)) <= set(app)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not target.startswith("http") and not (page.parent / target).exists()] == []


def test_all_pages_are_in_the_site():
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES[1:]}
    assert {page for page in pages if f": {page}\n" not in SITE} == set()
