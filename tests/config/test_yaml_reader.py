"""YAML 1.2 in, and out YAML that means the same in 1.1 and 1.2."""

from datetime import date

import pytest
import yaml

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.config.yaml_reader import MAX_VALUES, dump_yaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("0o17", 15),
        ("true", True),
        ("~", None),
        ("2001-02-03", date(2001, 2, 3)),
        ("!!str 5", "5"),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
        ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}),
        ("", None),
    ],
)
def test_values_are_those_of_yaml_1_2(text, value):
    assert parse_yaml(text) == value


@pytest.mark.parametrize(
    "name", ["no", "Off", "1e-5", "010", "1:30", "2001-01-01", "~", "0x1f", "1_000", "a: b", "näme #x"]
)
def test_text_and_numbers_mean_the_same_in_yaml_1_1(name):
    tree = {
        "z": [name, name.encode().hex()],
        "a": {"small": 1e-05, "large": 1e22, "no": True, "none": None},
        "empty": {},
    }
    written = dump_yaml(tree, width=80)
    assert parse_yaml(written) == yaml.safe_load(written) == tree
    assert list(parse_yaml(written)) == ["z", "a", "empty"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcde", "bcdef", strict=True)),
        "[" * 100_000,
        "? " * 100_000,
        "- x\n" * (MAX_VALUES + 1),
        "&a [*a]",
        "%YAML 1.1\n---\nx: !!binary aGk=",
    ],
    ids=["aliases", "lists", "keys", "values", "itself", "binary"],
)
def test_too_much_is_refused_with_line_and_column(text):
    with pytest.raises(ValueError, match=r"^line \d+, column \d+: [^\n]*$"):
        parse_yaml(text)


def test_the_message_of_a_duplicate_key_has_no_value():
    with pytest.raises(ValueError, match=r"^line 2, column 1: ") as caught:
        parse_yaml("uri: https://me:secret@host\nuri: https://me:other@host")
    assert "me:" not in str(caught.value)


@pytest.mark.parametrize(("word", "value"), [("no", False), ("off", False), ("yes", True), ("true", True)])
def test_a_switch_of_the_settings_may_be_written_as_in_yaml_1_1(word, value):
    settings = load_settings(parse_yaml(f"report: {word}\nmlflow: {{enabled: {word}}}"), environment={})
    assert (settings.report, settings.mlflow.enabled) == (value, value)
