"""Convert tables of users (CSV, Parquet, frames) to columns of dates and numbers."""
