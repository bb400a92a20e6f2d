"""History: what was decided and answered, as Parquet files; and the tables that customers and training rows come from.

The only home of duckdb. Nothing here is imported by a process that serves decisions.
"""
