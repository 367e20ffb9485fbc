"""Durable jobs: each workflow is a straight walk through the rooms, on one page."""
