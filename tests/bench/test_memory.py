"""Memory of processes."""

import os

from bench_helpers import TINY

from unlearnkit.bench import memory, timing
from unlearnkit.bench.cases import Options


def test_memory_of_a_side_is_that_of_a_process_of_its_own():
    assert timing.in_child(os.getpid) != os.getpid()
    loaded, peak = memory.peak(Options(TINY, 2, 4), "plain step")
    assert 0 < loaded <= peak
