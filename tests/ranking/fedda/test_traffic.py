"""Bytes of a round, as a human adds them up."""

from dataclasses import replace

import torch
from parabolas import quadratics

from ranking.fedda.config import MethodConfig
from ranking.fedda.methods import method_of
from ranking.fedda.traffic import Traffic, traffic


def test_all_numbers_to_all_clients():
    # Three clients, four numbers of 4 bytes; W, M down and a, S up; n_k and T_k are 8 bytes.
    cohort, method = quadratics(clients=3).cohort(), method_of(MethodConfig())
    assert traffic(method, cohort, size=4) == Traffic(down=2 * 3 * 16, up=2 * 3 * 16 + 24)


def test_only_what_a_client_holds_is_sent():
    cohort = quadratics(clients=2).cohort()
    thin = replace(cohort, places=torch.tensor([[0, 1, 9, 9], [0, 1, 4, 5]]))
    # Six numbers in all, of nine; three rows are named.
    found = traffic(method_of(MethodConfig()), thin, size=9, rows=3)
    assert found == Traffic(down=2 * 24, up=2 * 24 + 12 + 16)
