"""Conversion of users' tables (CSV files, Parquet files, data frames) to columns of dates and numbers."""
