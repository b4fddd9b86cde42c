"""Any tree and any text: settings, which survive being written and read, or one error that names a field or a line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import PARAMETERS, Settings, dump_settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import printable
from torture.fuzz_config import fuzz

SECTIONS = {
    section: list(getattr(field.annotation, "model_fields", ())) for section, field in Settings.model_fields.items()
}
QUICK = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

EXTREME = [0, 1, 2, 16, 0.1, 0.5, 10**30, 10**400, -1, 1e308, 5e-324, "auto", "none", "1e-3", "nan", "../x", ""]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates()
scalars |= st.sampled_from(EXTREME)
names_of_ranges = st.sampled_from(["low", "high", "log", "choices", "fixed", "x"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names_of_ranges, inner, max_size=3),
    max_leaves=6,
)
unknown = st.text(max_size=12) | st.integers() | st.none() | st.booleans()


@st.composite
def spaces(draw: st.DrawFn) -> dict[Any, Any]:
    """Groups of the search space with values of all kinds."""
    tree: dict[Any, Any] = {}
    for name in draw(st.lists(st.sampled_from(list(PARAMETERS)), max_size=4)):
        group, key = name.split(".")
        tree.setdefault(group, {})[key] = draw(values)
    if draw(st.integers(0, 4)) == 0:
        tree[draw(unknown)] = draw(values)
    return tree


@st.composite
def trees(draw: st.DrawFn) -> dict[Any, Any]:
    """Settings by their right names, mostly, with values of all kinds."""
    tree: dict[Any, Any] = {}
    for section in draw(st.lists(st.sampled_from(list(SECTIONS)), max_size=4, unique=True)):
        keys = SECTIONS[section]
        if section == "search_space":
            tree[section] = draw(spaces())
        elif keys and draw(st.integers(0, 9)):
            tree[section] = draw(st.dictionaries(st.sampled_from(keys) | unknown, values, max_size=4))
        else:
            tree[section] = draw(values)
    if draw(st.integers(0, 4)) == 0:
        tree[draw(unknown)] = draw(values)
    return tree


def same(first: Settings, second: Settings) -> bool:
    others = [settings.model_dump(exclude={"search_space"}) for settings in (first, second)]
    return first.search_space == second.search_space and others[0] == others[1]


@QUICK
@given(tree=trees())
def test_any_tree_is_settings_or_a_fault_with_its_place(
    tree: dict[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        found = load_settings(tree, environment={})
    except ConfigError as error:
        places = {form(str(key)) for key in tree for form in (str, printable)} | {"null"}
        text, field, code = str(error), error.field, error.code
        assert code
        assert any(place in field for place in places), field
        assert len(text) < 4_000
        assert "Traceback" not in text
    else:
        assert same(load_settings(yaml.safe_load(dump_settings(found)), environment={}), found)


def test_a_few_mutated_files_are_settings_or_refused_as_they_should_be(tmp_path: Path) -> None:
    """``make torture`` runs thousands of them."""
    counts = fuzz(60, 1, tmp_path)
    assert counts["files"] == 60
    assert counts["refused"] > 20
    assert counts["settings"] > 2
    assert counts["command line"] == 3
