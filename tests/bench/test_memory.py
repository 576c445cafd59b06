"""Memory of processes."""

import os

from unlearnkit.bench import timing


def test_memory_of_a_side_is_that_of_a_process_of_its_own(found):
    assert timing.in_child(os.getpid) != os.getpid()
    result = found["memory", "gpt2-shape"]
    assert 0 < result["loaded_bytes"] <= min(result["peak_bytes"].values())
