"""api runs: HTTP, jobs, the command line. Everything that touches the outside world is here.

Takes requests, gives answers; holds no mathematics and writes no SQL.
"""
