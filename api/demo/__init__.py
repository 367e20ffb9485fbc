"""The demo: an ordinary client of the service, on real data, that measures what it sees."""
