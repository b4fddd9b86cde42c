"""Samplers and pruners by name: settings know their facts without an import; documentation and template list each."""

import re
import sys
import typing
from pathlib import Path

import pytest

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.config.schema import search as settings
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from cnn_lstm_hyperopt.utils.registry import members

REPOSITORY = Path(__file__).parents[2]
FAMILIES = [
    (SAMPLERS, settings.SAMPLERS, settings.SamplerName, SamplerSettings),
    (PRUNERS, settings.PRUNERS, settings.PrunerName, PrunerSettings),
]


@pytest.mark.parametrize(("kinds", "declared", "names", "section"), FAMILIES, ids=["samplers", "pruners"])
def test_settings_and_documentation_know_every_member_and_its_settings(kinds, declared, names, section):
    assert list(declared) == list(kinds)
    assert typing.get_args(names) == ("auto", *kinds)
    assert {name for kind in kinds.values() for name in kind.uses} | {"type", "n_startup_trials"} == set(
        section.model_fields
    )
    table = (REPOSITORY / "docs/explanation/search-and-pruning.md").read_text(encoding="utf-8")
    template = (REPOSITORY / "configs/hyperopt/cnn_lstm_hyperopt_config.yaml").read_text(encoding="utf-8")
    for name, kind in kinds.items():
        facts = declared[name]
        assert all(getattr(kind, key) == value for key, value in facts.items() if not key.startswith("_"))
        assert f"{name} ({kind.description})" in section.model_fields["type"].description
        rows = "".join(re.findall(rf"^\| `{name}`.*$", table, flags=re.M))
        assert rows
        assert all(f"`{each}`" in rows for each in kind.uses)
        assert re.search(rf"\b{name}\b", template)


def test_a_member_is_found_in_a_new_file(tmp_path, monkeypatch):
    package = tmp_path / "family_of_two"
    package.mkdir()
    (package / "__init__.py").write_text("class Base:\n    pass\n")
    for name, place in (("Late", 2), ("Early", 1)):
        code = f"from family_of_two import Base\n\nclass {name}(Base):\n    name, place = '{name}', {place}\n"
        (package / f"{name.lower()}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import family_of_two

    assert list(members("family_of_two", family_of_two.Base)) == ["Early", "Late"]
    monkeypatch.delitem(sys.modules, "family_of_two")
