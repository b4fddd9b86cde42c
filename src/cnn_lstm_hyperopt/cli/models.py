"""Commands that use a trained model: ``predict`` and ``export``."""

import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.options import Debug, require_symbols
from cnn_lstm_hyperopt.cli.values import path_of
from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.errors import ConfigError, DataError
from cnn_lstm_hyperopt.run_dir.outputs import checked_output, is_export, is_predictions
from cnn_lstm_hyperopt.utils.atomic_io import write_text
from cnn_lstm_hyperopt.utils.spreadsheets import csv_frame
from cnn_lstm_hyperopt.utils.text import printable

if TYPE_CHECKING:
    import pandas as pd

    from cnn_lstm_hyperopt.data.bars import Bars
    from cnn_lstm_hyperopt.inference.predictor import Predictor

Model = Annotated[
    Path,
    Parameter(
        converter=path_of,
        help="Folder of a model, such as hyperopt_results/retrained_model_1 or hyperopt_results/ensemble.",
    ),
]

Tested = Annotated[
    bool,
    Parameter(negative="", help="Use the tested model even if the folder has a final refit or later versions."),
]

Force = Annotated[
    bool,
    Parameter(
        negative="",
        help="Replace --output even if this command did not write it. Files of a study and of --data-dir are never replaced.",
    ),
]


OwnFeatures = Annotated[
    str | None,
    Parameter(help="module:function that computes the model's own features. It runs only if you name it here."),
]
OnBadBars = Annotated[
    BadBars, Parameter(help="Invalid bars: error (stop), drop (remove them), or keep (keep them where possible).")
]
Family = Annotated[
    str | None,
    Parameter(
        help="module:name of the model's own family of networks. The module is imported only if you name it here."
    ),
]


@app.command
def predict(
    *,
    model: Model,
    data_dir: Annotated[
        Path, Parameter(converter=path_of, help="Folder with SYMBOL.csv or SYMBOL.parquet files, as for run.")
    ],
    symbols: Annotated[
        tuple[str, ...] | None,
        Parameter(consume_multiple=True, negative="", help="Symbols to predict. [default: all in the folder]"),
    ] = None,
    start: Annotated[date | None, Parameter(help="First date to predict. Earlier bars are read as history.")] = None,
    end: Annotated[date | None, Parameter(help="Last date to predict. Later bars are not read.")] = None,
    last: Annotated[bool, Parameter(negative="", help="Predict only the last bar of each symbol.")] = False,
    output: Annotated[
        Path | None, Parameter(converter=path_of, help="CSV file to write. [default: the terminal]")
    ] = None,
    features: OwnFeatures = None,
    family: Family = None,
    on_bad_bars: OnBadBars = "error",
    tested: Tested = False,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Predict with a trained model and write a CSV.

    Columns: symbol, date, class, class_name, probability_0 … and, with a regression head, value and the value in per cent
    (range_percent or change_percent). If the model has prediction sets, set_0 … follow, which are 1 if the class is in the
    set, else 0. With a regression head, value_low and value_high follow, also in per cent. Each row is the prediction for the
    window that ends with the bar of that date.

    Examples: predict --model hyperopt_results/retrained_model_1 --data-dir bars/ --last;
    predict --model hyperopt_results/ensemble --data-dir bars/ --symbols AAPL --start 2020-01-01 --output predictions.csv.
    """
    require_symbols(symbols)
    if start is not None and end is not None and start > end:
        text = f"--start {start} must not be after --end {end}"
        raise ConfigError(text, field="--start", code="start-not-before-end")
    place = None
    if output is not None:
        place = checked_output(output, is_predictions, command="predict", force=force, data_dir=data_dir)
    predictor = loaded(model, features, family, tested=tested)
    bars = _read(data_dir, symbols or (), end, on_bad_bars, predictor)
    table = _predicted(predictor, bars, start=start, last=last)
    text = csv_frame(table).to_csv(index=False)
    if output is None or place is None:
        _print_table(text)
    else:
        write_output(place, output, text)
        print(f"Written to {output}: {len(table):,} predictions of {len(bars):,} symbols")


@app.command
def export(
    *,
    model: Model,
    format: Annotated[Literal["onnx", "torch"], Parameter(help="onnx, or torch (a torch.export program).")],
    output: Annotated[
        Path | None,
        Parameter(converter=path_of, help="File to write. [default: model.onnx or model.pt2 in the model's folder]"),
    ] = None,
    family: Family = None,
    tested: Tested = False,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Export a trained model to a file that runs without this package, and check that its outputs are the same.

    Input: features (batch, lookback, features), float32, not scaled; the graph contains the scaling. Outputs:
    probabilities (batch, classes) and, with a regression head, value (batch) in the target's units.

    Example: export --model hyperopt_results/retrained_model_1 --format onnx --output model.onnx.
    """
    from cnn_lstm_hyperopt.inference.export import DEFAULT_NAMES, export_model

    path = output or model / DEFAULT_NAMES[format]
    place = checked_output(path, is_export, command="export", force=force)
    predictor = loaded(model, None, family, tested=tested, runs=False)
    try:
        difference = export_model(predictor, place, format)
    except OSError as error:
        raise _cant_write(path, error) from error
    print(f"Written to {path}; its outputs differ from the model's by {difference:.1e} at most")


def loaded(
    folder: Path, features: str | None, family: str | None, *, tested: bool, runs: bool = True, announced: bool = True
) -> "Predictor":
    """Load a model with the feature function and the family of networks that the user names.

    A function or a family that only the model's folder names is never run. Print a line on standard error if the model is a
    final refit or a later version, unless ``announced`` is False.
    """
    from cnn_lstm_hyperopt.inference.model import load_model
    from cnn_lstm_hyperopt.models import import_family

    if family is not None:
        import_family(family)
    found = load_model(folder, tested=tested)
    facts = found.version or found.refit
    if facts is not None and announced:
        print(f"{facts.sentence} --tested uses the tested model.", file=sys.stderr)
    needed = found.description.feature_function
    if not runs:
        return found
    found.require_bars()
    if features is None and needed is not None:
        raise DataError(
            f"--model {printable(str(folder))} needs the feature function {needed}, which runs only if you name it:"
            f" --features {needed} (in Python: load_model(folder, features={needed.replace(':', '.')}))",
            field="--features",
            code="no-feature-function",
        )
    if features is None:
        return found
    if needed is None:
        text = "--features must be left out, because this model has no own features"
        raise DataError(text, field="--features", code="model-without-own-features")
    if ":" not in features:
        text = f"--features must be module:function, such as {needed}, but got {printable(features)}"
        raise ConfigError(text, field="--features", code="not-a-reference")
    from cnn_lstm_hyperopt.data.own_function import load_function

    return load_model(folder, features=load_function(features).call, tested=tested)


def _read(
    data_dir: Path, symbols: Sequence[str], end: date | None, on_bad_bars: BadBars, model: "Predictor"
) -> list["Bars"]:
    """Read the bars in a folder with the same checks as the command ``run``. Print warnings on standard error."""
    from cnn_lstm_hyperopt.data.problems import warning_texts
    from cnn_lstm_hyperopt.data.sources.files import FileSource

    source = FileSource(data_dir, on_bad_bars, model.description.feature_columns)
    every, warnings = source.load(symbols, None, end)
    for text in (*warnings, *warning_texts([problem for bars in every for problem in bars.problems])):
        print(f"Warning: {printable(text, 1_000)}", file=sys.stderr)
    return every


def _predicted(model: "Predictor", every: Sequence["Bars"], *, start: date | None, last: bool) -> "pd.DataFrame":
    import pandas as pd

    from cnn_lstm_hyperopt.data.problems import date_text
    from cnn_lstm_hyperopt.inference.predictor import SYMBOL, joined

    tables = []
    market = model.market({bars.symbol: bars.frame for bars in every})
    for bars in every:
        of_market = market.get(bars.symbol)
        table = model.predict_frame(bars.frame, bars.symbol, last=1 if last else None, market=of_market)
        table.insert(0, SYMBOL, bars.symbol)
        newest = bars.frame.index[-1]
        if last and table["date"].iloc[-1] != newest:  # an older prediction would look like the newest
            print(
                f"Warning: {printable(bars.symbol)} is left out: no complete window ends with its last bar, {date_text(newest)}"
                " (a gap before it, or a missing value)",
                file=sys.stderr,
            )
            continue
        if start is not None:
            table = table[table["date"] >= pd.Timestamp(start)]
        tables.append(table)
    if not tables:
        raise DataError(
            "--last finds no symbol with a complete window at its last bar; give more bars, or leave out --last",
            field="--last",
            code="no-window",
        )
    found = joined(tables)
    if not len(found):
        text = f"no window ends on --start {start} or later; give an earlier date, or more bars"
        raise DataError(text, field="--start", code="no-window")
    return found


def _print_table(text: str) -> None:
    try:
        text.encode(sys.stdout.encoding or "utf-8")  # replacing characters would change names
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"the terminal's encoding {error.encoding} has no {error.object[error.start]!a}, which a name contains; write a file"
            " with --output FILE (UTF-8), or set PYTHONIOENCODING=utf-8",
            field="--output",
            code="not-encodable",
        ) from error
    print(text, end="")


def write_output(place: Path, output: Path, text: str) -> None:
    """Write the text of ``--output``, whose path with links resolved is ``place``.

    Raises:
        ConfigError: the file can't be written.
    """
    try:
        write_text(place, text, make_folder=False)
    except OSError as error:
        raise _cant_write(output, error) from error


def _cant_write(path: Path, error: OSError) -> ConfigError:
    text = f"--output {printable(str(path))} can't be written: {error.strerror or error}; name another file"
    return ConfigError(text, field="--output", code="output-unwritable")
