"""What a package index shows of a release, and the files that state its version."""

import importlib.util
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def module_at(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_a_package_index_has_no_link_to_a_file_and_keeps_its_code():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = module_at(ROOT / "setup.py").index_readme(readme)
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert targets
    assert {target for target in targets if not target.startswith("http")} == set()
    assert re.findall(r"^```.*?^```", page, re.M | re.S) == re.findall(r"^```.*?^```", readme, re.M | re.S)
    named = re.findall(r"\((?!http)([\w./-]+\.\w+)\)", re.sub(r"```.*?```", "", readme, flags=re.S))
    assert [path for path in named if f"`{path}`" not in page and not path.endswith("report.png")] == []
    assert page.splitlines()[0] == readme.splitlines()[0]


def test_files_agree_about_the_version():
    versions = module_at(ROOT / "scripts" / "check_release.py").versions()
    assert len(set(versions.values())) == 1


def test_every_dependency_of_a_user_has_both_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours = ("dev", "docs", "benchmark")
    extras = [each for name, listed in project["optional-dependencies"].items() if name not in ours for each in listed]
    assert [each for each in [*project["dependencies"], *extras] if not re.search(r">=[\d.]+,<[\d.]+$", each)] == []


def test_the_script_of_the_readme_has_ten_lines():
    script = module_at(ROOT / "scripts" / "check_release.py").readme_script(
        (ROOT / "README.md").read_text(encoding="utf-8")
    )
    assert len([line for line in script.splitlines() if line.strip()]) == 10
    compile(script, "README.md", "exec")
