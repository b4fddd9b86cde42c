"""The words of the errors that users of the command line meet most."""

import pytest

from cnn_lstm_hyperopt import cli


@pytest.mark.wording
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "run",
            "run needs data: --data-dir DIR (your SYMBOL.csv or SYMBOL.parquet files), --use-real-data (daily bars in"
            " the package), or --demo (a few minutes on these bars)",
        ),
        (
            "run --config smal",
            "--config smal is neither a file nor a profile (cnn_lstm_hyperopt_config, demo, gpu, laptop, small); did"
            " you mean small?",
        ),
        ("run --config my.yml", "--config my.yml can't be read: No such file or directory"),
        ("run --n-trails 5", "Unknown option: --n-trails. Did you mean --n-trials? (see --help)"),
        ("run --n-trials 1e3", "Invalid value for --n-trials: must be a whole number, but got '1e3' (see --help)"),
        ("run --n-trials -1", "--n-trials: study.n_trials must be greater than or equal to 1, but got -1"),
        (
            "runn",
            'Unknown command "runn". Did you mean "run"? Commands: run, data, resume, status, report, predict,'
            " export, update, evaluate, rollback, narrow, track, worker (see --help)",
        ),
        (
            "evaluate --model none --data-dir bars --refit",
            'Command "evaluate" parameter --walk-forward requires an argument (see --help)',
        ),
        (
            "resume --save-dir none",
            "--save-dir none has no config.yaml, so there is nothing to resume; start with: run",
        ),
    ],
)
def test_messages_of_the_command_line(command, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.split()) == 2
    assert capsys.readouterr().err == f"Error: {message}\n"
