"""The importer: turns CSV, JSON lines and Parquet files into an event log."""
