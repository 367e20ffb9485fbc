"""Federated training: clients keep their rows, a server moves what they share.

Takes gradients of clients, gives weights; never sees a client's rows, a network or a clock.
`config` (dials), `cohort` (who is in a round), `flow`, `client` and `server` (FedDA, pure),
`rivals`, `methods` (all by name), `rounds` (the loop), `traffic` (bytes).
"""
