"""Tables of users (CSV, Parquet and frames) to columns of dates and numbers, in every unambiguous form."""
