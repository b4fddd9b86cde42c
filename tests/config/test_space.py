"""The search space: the specification's ranges, YAML's short and long forms, head counts, round trip."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import (
    PARAMETERS,
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    dump_settings,
    load_settings,
    parse_space,
    readable,
    stored,
)
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.space.domains import encode
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, value_of
from cnn_lstm_hyperopt.space.parsing import params_errors
from cnn_lstm_hyperopt.space.search_space import SearchSpace

FLAG = Choices((False, True))
RANGES = {
    "cnn.num_filters": Choices((32, 64, 128, 256)),
    "cnn.filter_sizes": Choices(("3-5-7", "3-5-7-11")),
    "cnn.dropout": FloatRange(0.1, 0.5),
    "cnn.activation": Choices(("relu", "gelu", "swish")),
    **dict.fromkeys(("cnn.residual", "cnn.attention"), FLAG),
    "lstm.hidden_dim": Choices((64, 128, 256, 512, 1024)),
    "lstm.num_layers": IntRange(1, 4),
    "lstm.dropout": FloatRange(0.1, 0.5),
    **dict.fromkeys(("lstm.bidirectional", "lstm.attention", "lstm.skip_connections"), FLAG),
    "fusion.method": Choices(("concatenation", "attention", "gated", "bilinear")),
    "fusion.dim": Choices((128, 256, 512, 1024)),
    "fusion.dropout": FloatRange(0.1, 0.4),
    "fusion.attention_heads": Choices((4, 8, 16)),
    "training.learning_rate": FloatRange(1e-5, 1e-2, log=True),
    "training.batch_size": Choices((16, 32, 64, 128)),
    "training.weight_decay": FloatRange(1e-6, 1e-3, log=True),
    "training.optimizer": Choices(("adam", "adamw", "sgd", "rmsprop")),
    "training.scheduler": Choices(("cosine", "step", "exponential", "plateau")),
    "training.gradient_clip": FloatRange(0.5, 5.0),
    "regularization.l1": FloatRange(1e-7, 1e-3, log=True),  # the specification says 0 to 1e-3; the switch means 0
    "regularization.l2": FloatRange(1e-6, 1e-3, log=True),
    "regularization.dropout_schedule": Choices(("constant", "linear", "cosine")),
    "regularization.label_smoothing": FloatRange(0.0, 0.2),
    "multi_task.balancing": Choices(("fixed", "dynamic", "uncertainty")),
    "multi_task.classification_weight": FloatRange(0.3, 0.8),
    "augmentation.jitter": FloatRange(0.0, 0.1),
    "augmentation.scaling": FloatRange(0.0, 0.2),
    "augmentation.time_masking": FloatRange(0.0, 0.3),
    "augmentation.mixup": FloatRange(0.0, 0.4),
}
OURS = {
    "cnn.attention_heads": Choices((2, 4, 8)),
    "lstm.attention_heads": Choices((2, 4, 8)),
    "regularization.l1_switch": FLAG,
    "augmentation.switch": Fixed(False),
    "highway.enabled": Fixed(True),
    "highway.init": Fixed("random"),
    **{name: Fixed(spec.earlier) for name, spec in PARAMETERS.items() if spec.full and spec.earlier is not None},
    **dict.fromkeys(("inputs.relative_ranges", "inputs.standardise"), Fixed(True)),
    **dict.fromkeys(("inputs.volume_ratios", "inputs.market", "inputs.window_norm"), Fixed(False)),
}
"""Parameters that the specification does not name."""
FURTHER = {
    f"fusion.{key}": {"fusion.method": (name,)}
    for name, member in FUSIONS.items()
    for key in member.parameters
    if name not in RANGES["fusion.method"].values
}
"""Conditions of the parameters of fusions that the specification does not name."""
AUGMENTATION = {f"augmentation.{name}" for name in ("jitter", "scaling", "time_masking", "mixup")}
WEIGHTING = {"multi_task.balancing", "multi_task.classification_weight"}
CONDITIONS = {
    **FURTHER,
    "cnn.attention_heads": {"cnn.attention": (True,)},
    "lstm.attention_heads": {"lstm.attention": (True,)},
    "lstm.skip_connections": {"lstm.num_layers": tuple(range(2, 17))},
    "lstm.summary": {"lstm.attention": (False,)},
    **{
        f"cnn.{name}": {"cnn.block": ("fcn", "inception")}
        for name in ("blocks", "dilation_growth", "norm", "squeeze_excite", "downsampling", "summary")
    },
    "fusion.attention_heads": {"fusion.method": ("attention",)},
    "regularization.l1": {"regularization.l1_switch": (True,)},
    "highway.init": {"highway.enabled": (True,)},
    "highway.kernel_groups": {"highway.enabled": (True,)},
    "multi_task.classification_weight": {"multi_task.balancing": ("fixed", "dynamic")},
    **{name: {"augmentation.switch": (True,)} for name in AUGMENTATION},
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_default_space_has_the_ranges_of_the_specification(name):
    found = load_settings().search_space.domains[name]
    expected = RANGES.get(name) or OURS.get(name)
    if PARAMETERS[name].options and isinstance(found, Choices):  # new options may follow
        found = Choices(found.values[: len(expected.values)])
    assert found == expected or name in FURTHER


def test_which_parameters_there_are_and_under_which_conditions():
    assert set(PARAMETERS) == set(RANGES) | set(OURS) | set(FURTHER)
    assert {name: spec.when for name, spec in PARAMETERS.items() if spec.when} == CONDITIONS


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("lstm.num_layers", [1, 3], IntRange(1, 3)),
        ("lstm.num_layers", [1, 2, 3, 4], IntRange(1, 4)),
        ("lstm.num_layers", [1, 2, 4], Choices((1, 2, 4))),
        ("lstm.num_layers", [2, 2], Fixed(2)),
        ("cnn.filter_sizes", [[3, 5], [9]], Choices(("3-5", "9"))),
        ("cnn.dropout", [0, 0.5], FloatRange(0.0, 0.5)),
        ("training.learning_rate", ["1e-4", "1E-2"], FloatRange(1e-4, 1e-2, log=True)),
        ("cnn.residual", [True, False], Choices((True, False))),
        ("lstm.num_layers", 2.0, Fixed(2)),
        ("cnn.dropout", 0, Fixed(0.0)),
        ("training.learning_rate", "1e-3", Fixed(1e-3)),
        # a range from 0, which the switch already means
        ("regularization.l1", [0, "1e-3"], FloatRange(1e-7, 1e-3, log=True)),
        ("regularization.l1", {"low": 0, "high": 1e-4}, FloatRange(1e-7, 1e-4, log=True)),
        ("regularization.l1", {"low": 0, "high": 1e-4, "log": False}, FloatRange(0.0, 1e-4)),
        ("regularization.l1", [1e-9, 1e-3], FloatRange(1e-9, 1e-3, log=True)),
        ("regularization.l1", 0, Fixed(0.0)),
        ("multi_task.balancing", ["uncertainty"], Fixed("uncertainty")),
        ("cnn.dropout", {"choices": [0, 0.25]}, Choices((0.0, 0.25))),
        ("cnn.num_filters", {"low": 8, "high": 64}, IntRange(8, 64)),
        ("lstm.num_layers", {"low": 1, "high": 8, "log": True}, IntRange(1, 8, log=True)),
        ("training.learning_rate", {"low": 1e-5, "high": 1e-2}, FloatRange(1e-5, 1e-2, log=True)),
        ("cnn.dropout", {"low": 0.1, "high": 0.1}, Fixed(0.1)),
        ("lstm.num_layers", (1, np.int64(3)), IntRange(1, 3)),
        ("cnn.dropout", (0.1, np.float64(0.2)), FloatRange(0.1, 0.2)),
        ("cnn.num_filters", np.array([8, 16]), Choices((8, 16))),
        ("cnn.residual", np.bool_(True), Fixed(True)),
    ],
)
def test_short_and_long_forms(name, raw, expected):
    group, key = name.split(".")
    tree = {"cnn": {"attention": False}, "lstm": {"attention": False}}
    tree.setdefault(group, {})[key] = raw
    found = load_settings(None, {"search_space": tree}).search_space.domains[name]
    assert found == expected
    assert repr(found) == repr(expected)  # 1, 1.0 and True are equal in Python, but not in a study


@pytest.mark.parametrize(
    ("raw", "gone", "come"),
    [
        ({}, set(), set()),
        ({"cnn": {"dropout": 0.2}}, {"cnn.dropout"}, set()),
        ({"augmentation": {"switch": [True, False]}}, set(), {"augmentation.switch", *AUGMENTATION}),
        ({"augmentation": {"switch": True, "mixup": 0}}, set(), AUGMENTATION - {"augmentation.mixup"}),
        ({"augmentation": {"switch": False, "mixup": [0, 1]}}, set(), set()),
        ({"regularization": {"l1_switch": False}}, {"regularization.l1_switch", "regularization.l1"}, set()),
        ({"regularization": {"l1_switch": True}}, {"regularization.l1_switch"}, set()),
        ({"lstm": {"num_layers": 1}}, {"lstm.num_layers", "lstm.skip_connections"}, set()),
        ({"multi_task": {"balancing": "uncertainty"}}, WEIGHTING, set()),
        ({"multi_task": {"balancing": "dynamic"}}, {"multi_task.balancing"}, set()),
        ({"cnn": {"attention": False}}, {"cnn.attention", "cnn.attention_heads"}, set()),
        ({"fusion": {"method": ["gated", "bilinear"]}}, {"fusion.attention_heads", *FURTHER}, set()),
    ],
)
def test_a_parameter_that_no_configuration_has_is_not_searched(raw, gone, come):
    fixed = {name for name, spec in PARAMETERS.items() if isinstance(spec.default, Fixed)}
    usual = {name for name, spec in PARAMETERS.items() if name not in fixed and not fixed & set(spec.when)}
    space, errors = parse_space(raw)
    assert errors == []
    assert set(space.searched()) == (usual - gone) | come
    assert list(space.searched()) == [name for name in PARAMETERS if name in space.searched()]


def test_fixing_changes_only_the_named_parameters_of_a_copy():
    space, _ = parse_space({"cnn": {"dropout": [0.2, 0.3]}})
    fixed = space.fixing({"multi_task.balancing": "fixed", "multi_task.classification_weight": 1.0})
    expected = space.domains | {name: Fixed("fixed" if "bal" in name else 1.0) for name in WEIGHTING}
    assert (fixed.domains, list(fixed.domains)) == (expected, list(PARAMETERS))
    assert set(space.searched()) - set(fixed.searched()) == WEIGHTING
    assert space == parse_space({"cnn": {"dropout": [0.2, 0.3]}})[0]
    assert parse_space(fixed.as_dict()) == (fixed, [])


@given(st.data())
def test_a_parameter_exists_exactly_where_its_parent_has_one_of_its_values(data):
    space, _ = parse_space({"augmentation": {"switch": [False, True]}})
    parents = {parent for condition in CONDITIONS.values() for parent in condition}
    params: dict[str, Any] = {}
    for name in space.active(params):
        choices = getattr(space.domains[name], "values", (0,))
        params[name] = data.draw(st.sampled_from(choices)) if name in parents else 0
    for name in PARAMETERS:
        condition = CONDITIONS.get(name, {})
        assert (name in params) == all(params[parent] in values for parent, values in condition.items())


@given(st.lists(st.integers(1, 255), min_size=1, max_size=6), st.booleans(), st.floats(0, 1))
def test_readable_and_stored_are_inverse(sizes, residual, dropout):
    params = {"cnn.filter_sizes": encode(sizes), "cnn.residual": residual, "cnn.dropout": dropout}
    assert readable(params) == params | {"cnn.filter_sizes": sizes}
    assert stored(readable(params)) == params


def raw_numbers(name: str) -> st.SearchStrategy[Any]:
    """Legal YAML for a number: fixed, choices, range, log range."""
    spec = PARAMETERS[name]
    value = st.floats(max(spec.low, 1e-08), min(spec.high, 10.0))
    if spec.kind in ("int", "choice"):
        value = st.integers(int(spec.low), min(int(spec.high), 64))
    pair = st.lists(value, min_size=2, max_size=2, unique=True).map(sorted)
    return st.one_of(
        value,
        value.map(lambda v: {"fixed": v}),
        st.lists(value, min_size=1, max_size=4, unique=True).map(lambda v: {"choices": v}),
        st.tuples(pair, st.booleans()).map(lambda p: {"low": p[0][0], "high": p[0][1], "log": p[1] and p[0][0] > 0}),
    )


def raw_parameter(name: str) -> st.SearchStrategy[Any]:
    spec = PARAMETERS[name]
    if spec.kind == "flag":
        return st.sampled_from([True, False, [True, False], {"fixed": True}])
    if spec.options:
        option = st.sampled_from(spec.options)
        return option | st.lists(option, min_size=1, unique=True)
    if spec.kind == "sizes":
        sizes = st.lists(st.sampled_from([1, 3, 5, 7, 11]), min_size=1, max_size=4)
        return st.lists(sizes, min_size=1, max_size=3, unique_by=tuple)
    if spec.divides:
        return st.lists(st.integers(1, 16), min_size=1, max_size=4, unique=True)
    return raw_numbers(name)


@st.composite
def raw_spaces(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    raw: dict[str, dict[str, Any]] = {}
    for name in draw(st.lists(st.sampled_from(list(PARAMETERS)), unique=True)):
        group, key = name.split(".")
        raw.setdefault(group, {})[key] = draw(raw_parameter(name))
    return raw


def values_of(domain_: Any) -> list[Any]:
    if isinstance(domain_, Choices):
        return list(domain_.values)
    return [domain_.value] if isinstance(domain_, Fixed) else list(range(domain_.low, domain_.high + 1))


def channels(block: str, filters: int, sizes: str) -> int:
    """By hand: parallel convolutions, the same and a pooling branch, one convolution."""
    n_sizes = sizes.count("-") + 1
    return filters * {"parallel": n_sizes, "inception": n_sizes + 1, "fcn": 1}[block]


WIDTHS = {
    "cnn.attention_heads": (("cnn.block", "cnn.num_filters", "cnn.filter_sizes"), channels),
    "lstm.attention_heads": (("lstm.hidden_dim", "lstm.bidirectional"), lambda n, both: n * (1 + both)),
    "fusion.attention_heads": (("fusion.dim",), lambda n: n),
}


@settings(deadline=None, max_examples=60)
@given(raw_spaces(), st.data())
def test_random_spaces_either_name_a_dead_width_or_always_get_a_dividing_head_count(raw, data):
    """Every width the space can reach is tried, with every head count of the space."""
    space, errors = parse_space(raw)
    for name, (parents, width_of) in WIDTHS.items():
        ((parent, (needed,)),) = PARAMETERS[name].when.items()
        heads = values_of(space.domains[name])
        combinations = list(itertools.product(*(values_of(space.domains[each]) for each in parents)))
        dead = [each for each in combinations if all(width_of(*each) % head for head in heads)]
        used = space.domains[parent].contains(needed)
        assert any(name in str(error) for error in errors) == (used and bool(dead))
        if dead:
            continue
        chosen = data.draw(st.sampled_from(combinations))
        for head in heads:
            legal = space.legal(name, head, dict(zip(parents, chosen, strict=True)))
            fitting = [h for h in heads if width_of(*chosen) % h == 0]
            assert legal == max((h for h in fitting if h <= head), default=min(fitting))


@settings(deadline=None, max_examples=60)
@given(raw_spaces())
def test_random_spaces_survive_config_yaml_and_their_long_forms(read_text, raw):
    space, errors = parse_space(raw)
    if errors:
        return
    assert parse_space(space.as_dict()) == (space, [])
    again = read_text(dump_settings(load_settings(None, {"search_space": raw})))
    assert again.search_space == space
    assert repr(again.search_space) == repr(space)


def test_a_search_space_that_contains_itself_is_refused():
    raw: dict[str, Any] = {}
    raw["cnn"] = raw
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"search_space": raw})
    assert caught.value.field == "search_space.cnn.cnn"


def test_a_parameter_that_earlier_versions_lack_has_their_value():
    """A stored study or model lacks the parameter; a domain that the user changed stays, so the change is found."""
    specs = {"a.new": ParameterSpec("flag", FLAG, earlier=False), "a.old": ParameterSpec("flag", FLAG)}
    space = SearchSpace.of(specs)
    assert not value_of("a.new", {"a.old": True}, specs)
    assert params_errors({"a.old": True}, specs, specs) == []
    assert space.of_earlier_version(specs).domains == {"a.new": Fixed(False), "a.old": FLAG}
    changed = space.fixing({"a.new": True})
    assert changed.of_earlier_version(specs) == changed
