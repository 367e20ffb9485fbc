"""COMPUTE: a snapshot and a bundle become a ranker.

Takes sealed artifacts, gives sealed artifacts; never sees a session, a clock, the environment or
the network. The door for other rooms is `ranking.bundle`; jobs also call `ranking.examples`,
`ranking.train` and `ranking.evaluate`.
"""
