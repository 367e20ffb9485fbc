"""The page at `/ui`: what people look at, on the same functions as the routes.

`mount.py` puts it on the app, `entrance.py` lets people in, `shell.py` is around every view, and
each view has a file of its own.
"""
