"""Families of networks that a user registers: ranges, measured cost, checks, and errors."""

import pytest
import torch
from torch import nn

from builders.trainings import CPU
from cnn_lstm_hyperopt import NetworkShape, Profile, config, register_family
from cnn_lstm_hyperopt.config.loader import read_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models import import_family, network_config
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.own.network import check_network
from cnn_lstm_hyperopt.search import levels_of, random_configuration
from cnn_lstm_hyperopt.space.domains import Choices, Fixed, FloatRange, IntRange

SHAPE = {"input_dim": 3, "n_classes": 2, "has_regression": True, "lookback": 10}


class Heads(nn.Module):
    """Two heads on the last step of a sequence."""

    def __init__(self, shape, width):
        super().__init__()
        self.classify, self.regress = nn.Linear(width, shape.n_classes), nn.Linear(width, 1)

    def forward(self, sequence):
        return self.classify(sequence[:, -1]), self.regress(sequence[:, -1])


class Recurrent(nn.Module):
    def __init__(self, shape, width, layers, kind):
        super().__init__()
        self.recurrent = getattr(nn, kind)(shape.input_dim, width, layers, batch_first=True, bidirectional=True)
        self.heads = Heads(shape, 2 * width)

    def forward(self, x):
        return self.heads(self.recurrent(x)[0])


class Linear(nn.Module):
    """A linear model, with an option for each fault that the check finds."""

    def __init__(self, shape, fault):
        super().__init__()
        self.heads, self.fault = Heads(shape, shape.input_dim), fault
        self.extra = nn.Linear(2, 2) if fault == "unused" else None

    def forward(self, x):
        if self.fault == "mixed":
            x = x - x.mean(dim=0)
        logits, value = self.heads(x)
        return {
            "": (logits, value),
            "unused": (logits, value),
            "mixed": (logits, value),
            "logits": (logits[:, :1], value),
            "no value": logits,
            "value": (logits, value.expand(-1, 2)),
            "detached": (logits.detach(), value.detach()),
            "infinite": (logits / 0, value),
            "list": [logits, value],
        }[self.fault]


FAULTS = {
    "unused": "unused-parameter",
    "mixed": "windows-mixed",
    "logits": "logits-shape",
    "no value": "value-shape",
    "value": "value-shape",
    "detached": "no-gradient",
    "infinite": "not-finite",
    "list": "logits-shape",
}


def configured(family, number=0, **shape):
    space, errors = config.parse_space({"family": family.reference, "inputs": {"standardise": False}})
    assert errors == []
    return network_config(random_configuration(space, 0, number), **(SHAPE | shape))


@pytest.mark.parametrize(
    ("given", "domain", "in_yaml", "read"),
    [
        ((2, 6), IntRange(2, 6), [3, 4], IntRange(3, 4)),
        ([2, 6], Choices((2, 6)), [3, 4], Choices((3, 4))),
        ((0.0, 0.5), FloatRange(0.0, 0.5), [0.1, 0.2], FloatRange(0.1, 0.2)),
        ({"low": 1e-3, "high": 1.0, "log": True}, FloatRange(1e-3, 1.0, True), [0.1, 0.2], FloatRange(0.1, 0.2, True)),
        (["relu", "gelu"], Choices(("relu", "gelu")), "gelu", Fixed("gelu")),
        ([False, True], Choices((False, True)), True, Fixed(True)),
        (16, Fixed(16), [8, 9], IntRange(8, 9)),
    ],
)
def test_ranges_in_python_determine_the_meaning_of_ranges_in_yaml(given, domain, in_yaml, read):
    family = register_family("ranged", {"it": given}, Linear)
    space, _ = config.parse_space({"family": "ranged"})
    assert (space.domains["ranged.it"], space.families) == (domain, (family.reference,))
    narrowed, errors = config.parse_space({"family": "ranged", "ranged": {"it": in_yaml}})
    assert (narrowed.domains["ranged.it"], errors) == (read, [])


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("Big", {"a": 1}, Linear), "not-a-name"),
        (("good", {}, Linear), "no-parameters"),
        (("good", {"a b": 1}, Linear), "not-a-name"),
        (("good", {"a": (1, 2, 3)}, Linear), "not-a-range"),
        (("good", {"a": (3, 1)}, Linear), "not-a-range"),
        (("good", {"a": []}, Linear), "not-a-range"),
        (("good", {"a": None}, Linear), "not-a-range"),
        (("good", {"a": 1}, 7), "not-callable"),
        (("good", {"a": 1}, Linear, 7), "not-callable"),
    ],
)
def test_a_wrong_registration_is_one_line(arguments, code):
    with pytest.raises(ConfigError) as raised:
        register_family(*arguments)
    assert (raised.value.code, str(raised.value).count("\n")) == (code, 0)


@pytest.mark.parametrize(
    ("family", "code"),
    [
        ("tcnn", "unknown-family"),
        ("no_such_module:it", "no-module"),
        ("json:it", "no-family"),
        (7, "not-a-family"),
        ([], "no-family"),
        (["tcn", "tcn"], "family-name-taken"),
    ],
)
def test_a_wrong_family_in_the_settings_is_one_line(family, code):
    with pytest.raises(ConfigError) as raised:
        config.load_settings({"search_space": {"family": family}}, environment={})
    assert [each.code for each in raised.value.violations] == [code]
    assert str(raised.value).count("\n") == 0


def test_a_section_of_another_family_is_checked_and_has_no_effect():
    with_cnn = {"family": "tcn", "cnn": {"num_filters": [32, 64]}, "tcn": {"blocks": [1, 2]}}
    assert config.parse_space(with_cnn) == config.parse_space({"family": "tcn", "tcn": {"blocks": [1, 2]}})
    with_tcn = {"cnn": {"num_filters": [32, 64]}, "tcn": {"blocks": [1, 2]}}
    assert config.parse_space(with_tcn) == config.parse_space({"cnn": {"num_filters": [32, 64]}})
    wrong = {"family": "tcn", "cnn": {"num_filter": 32}}
    assert [error.violations[0].code for error in config.parse_space(wrong)[1]] == ["unknown-parameter"]


@pytest.mark.parametrize("name", ["small", "laptop", "demo"])
def test_a_shipped_config_file_searches_another_family(name):
    settings = config.load_settings(read_settings(name, "config"), {"search_space": {"family": "tcn"}})
    names = set(settings.search_space.domains)
    assert "tcn.blocks" in names
    assert not any(each.startswith(("cnn.", "lstm.", "fusion.", "highway.")) for each in names)


def test_a_name_that_a_section_of_the_search_space_has_is_refused():
    register_family("training", {"a": 1}, Linear)
    errors = config.parse_space({"family": f"{__name__}:training"})[1]
    assert [each.violations[0].code for each in errors] == ["family-name-taken"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_module_that_breaks_a_rule_is_found_before_the_first_trial(fault):
    family = register_family("faulty", {"fault": [fault, "none"]}, lambda shape, fault: Linear(shape, fault))
    found = configured(register_family("faulty", {"fault": fault}, family.build_module))
    with pytest.raises(ConfigError) as raised:
        check_network(import_family("faulty").recipe(found))
    assert (raised.value.code, str(raised.value).count("\n")) == (FAULTS[fault], 0)


def test_errors_of_the_users_functions_name_the_configuration():
    def build(shape, width):
        raise ValueError("no")

    for name, functions, code in [
        ("raising", (build, None), "build-raises"),
        ("returning", (lambda shape, width: 7, None), "no-module"),
        ("describing", (lambda shape, width: Linear(shape, ""), lambda shape, width: 7), "not-a-profile"),
    ]:
        family = register_family(name, {"width": 4}, *functions)
        with pytest.raises(ConfigError) as raised:
            configured(family).cost(lookback=10)
        assert raised.value.code == code
        assert "width=4" in str(raised.value)


def test_a_description_of_another_size_is_refused_and_the_right_one_is_used():
    def build(shape, fault):
        return Linear(shape, fault)

    described = {"right": 3 * 2 + 2 + 3 + 1, "wrong": 7}
    for name, parameters in described.items():
        family = register_family(name, {"fault": ""}, build, lambda shape, fault, n=parameters: Profile(n, 99))
        found = configured(family)
        assert found.cost(lookback=10) == Profile(parameters, 99)
        if name == "right":
            check_network(family.recipe(found))
        else:
            with pytest.raises(ConfigError) as raised:
                check_network(family.recipe(found))
            assert raised.value.code == "described-size"


def test_the_measured_cost_equals_the_closed_form_of_the_packages_own_networks():
    family = register_family("same", {"channels": 8}, lambda shape, channels: own_tcn(shape))
    made = configured(family)
    measured, closed = made.cost(lookback=10), tcn_config(NetworkShape(**SHAPE)).cost(lookback=10)
    assert (measured.parameters, measured.buffers) == (closed.parameters, closed.buffers)
    assert measured.multiply_adds == closed.multiply_adds
    assert 0.5 * closed.sequence_elements < measured.sequence_elements < 1.5 * closed.sequence_elements


def tcn_config(shape):
    space, _ = config.parse_space(
        {"family": "tcn", "tcn": {"channels": 8, "blocks": 2, "norm": "batch"}, "inputs": {"standardise": False}}
    )
    return network_config(random_configuration(space, 0, 0), **vars(shape))


def own_tcn(shape):
    return build_network(tcn_config(shape), seed=0, device=CPU)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_are_counted_though_torch_does_not_count_them(kind):
    family = register_family("recurrent", {"width": 6, "layers": 2, "kind": kind}, Recurrent)
    cost = configured(family).cost(lookback=10)
    built = build_network(configured(family), seed=0, device=CPU)
    matrices = [each.numel() for name, each in built.named_parameters() if "recurrent" in name and each.ndim == 2]
    assert cost.recurrent_multiply_adds == 10 * sum(matrices)
    assert cost.multiply_adds == cost.recurrent_multiply_adds + 12 * 3
    assert cost.parameters == sum(each.numel() for each in built.parameters())
    assert (cost.gru_steps > 0) is (kind == "GRU")
    check_network(family.recipe(configured(family)))


def test_batches_of_a_network_with_batch_norm_are_not_split():
    def build(shape, norm):
        norm_layer = nn.BatchNorm1d(shape.input_dim * shape.lookback) if norm else nn.Identity()
        heads = nn.Linear(shape.input_dim * shape.lookback, shape.n_classes)
        return nn.Sequential(nn.Flatten(), norm_layer, heads)

    register_family("normed", {"norm": [False, True]}, build)
    space, _ = config.parse_space({"family": "normed", "training": {"batch_size": 8}})
    drawn = {params["normed.norm"]: params for params in (random_configuration(space, 0, n) for n in range(9))}
    assert {level.micro_batches for level in levels_of(drawn[True])} == {1}
    assert {level.micro_batches for level in levels_of(drawn[False])} == {1, 2, 4, 8}


def test_the_measurement_does_not_change_torchs_random_state():
    family = register_family("quiet", {"fault": ""}, Linear)
    before = torch.get_rng_state()
    configured(family).cost(lookback=10)
    check_network(family.recipe(configured(family)))
    assert torch.equal(torch.get_rng_state(), before)
