"""Events from files and streams: lines of JSON, CSV, TSV and Parquet.

Takes bytes and paths, gives numbered rows; never touches the database.
"""
