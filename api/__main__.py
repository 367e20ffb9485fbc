"""`python -m api` is `graphsvc`."""

from api.cli import main

main()
