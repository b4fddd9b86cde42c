"""The words of the errors that users of config files meet most."""

import pytest

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import ConfigError

SECTIONS = ", ".join(Settings.model_fields)
STUDY = ", ".join(Settings.model_fields["study"].annotation.model_fields)


@pytest.mark.wording
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: {n_trials: 0}", "study.n_trials must be greater than or equal to 1, but got 0"),
        ("study: {sead: 3}", f"study.sead is not a setting; study has {STUDY}; did you mean seed?"),
        ("seed: 3", f"seed is not a setting; the file has {SECTIONS}; did you mean study.seed?"),
        ("study: {name: 2001-01-01}", "study.name must be text, but got 2001-01-01; put it in quotes"),
        (
            "sampler: {type: tpee}",
            "sampler.type must be 'auto', 'tpe', 'cmaes', 'random', 'nsga2' or 'gp', but got 'tpee'; did you mean tpe?",
        ),
        ("save_dir: s3://b/x", "save_dir must be a local directory, but got 's3://b/x'"),
        ("data: {start: 20010203}", "data.start must be a date such as 2001-02-03, but got 20010203"),
        ("data: {split: [0.5, 0.5]}", "data.split must be a list of 3 values, but got [0.5, 0.5]"),
        (
            "search_space: {cnn: {hidden_dim: 64}}",
            "search_space.cnn.hidden_dim is not a parameter; cnn has block, num_filters, filter_sizes, dropout, activation,"
            " residual, attention, attention_heads, blocks, dilation_growth, norm, squeeze_excite, downsampling, summary;"
            " did you mean lstm.hidden_dim?",
        ),
        (
            "search_space: {cnn: {activation: rleu}}",
            "search_space.cnn.activation must be one of relu, gelu, swish, but got 'rleu'; did you mean relu?",
        ),
    ],
)
def test_messages_about_a_config_file(read_text, text, message):
    with pytest.raises(ConfigError) as caught:
        read_text(text, environment={})
    assert str(caught.value).partition("/my.yaml: ")[2] == message
