"""Samplers and pruners by name: what settings read without an import is what the classes say, and the docs name each."""

import re
import typing
from pathlib import Path

import pytest

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.config.schema import search as settings
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.samplers import SAMPLERS

REPOSITORY = Path(__file__).parents[2]
FAMILIES = [
    (SAMPLERS, settings.SAMPLERS, settings.SamplerName, SamplerSettings),
    (PRUNERS, settings.PRUNERS, settings.PrunerName, PrunerSettings),
]
family = pytest.mark.parametrize(("members", "declared", "names", "section"), FAMILIES, ids=["samplers", "pruners"])


@family
def test_settings_know_the_members_without_importing_them(members, declared, names, section):
    assert list(declared) == list(members)
    assert typing.get_args(names) == ("auto", *members)
    for name, kind in members.items():
        said = declared[name]
        assert all(getattr(kind, key) == value for key, value in said.items() if not key.startswith("_"))
        assert f"{name} ({kind.description})" in section.model_fields["type"].description


@family
def test_each_setting_is_of_some_member(members, declared, names, section):
    used = {name for kind in members.values() for name in kind.uses}
    assert used | {"type", "n_startup_trials"} == set(section.model_fields)


@family
def test_the_documentation_and_the_template_have_each_member(members, declared, names, section):
    table = (REPOSITORY / "docs/explanation/search-and-pruning.md").read_text(encoding="utf-8")
    template = (REPOSITORY / "configs/hyperopt/cnn_lstm_hyperopt_config.yaml").read_text(encoding="utf-8")
    for name, kind in members.items():
        rows = "".join(re.findall(rf"^\| `{name}`.*$", table, flags=re.M))
        assert rows
        assert all(f"`{each}`" in rows for each in kind.uses)
        assert re.search(rf"\b{name}\b", template)


def test_a_member_is_found_in_a_new_file(tmp_path, monkeypatch):
    """One file is enough; what has no name and place is none."""
    from cnn_lstm_hyperopt.utils.registry import members

    package = tmp_path / "family_of_two"
    package.mkdir()
    (package / "__init__.py").write_text("class Base:\n    pass\n")
    (package / "late.py").write_text(
        "from family_of_two import Base\n\nclass Late(Base):\n    name, place = 'late', 2\n"
    )
    (package / "early.py").write_text(
        "from family_of_two import Base\n\nclass Early(Base):\n    name, place = 'early', 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import family_of_two

    assert list(members("family_of_two", family_of_two.Base)) == ["early", "late"]
