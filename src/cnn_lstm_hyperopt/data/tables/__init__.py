"""People's tables to columns of dates and numbers: CSV, Parquet and frames, in whatever form leaves no doubt."""
