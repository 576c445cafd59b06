"""Numbers that weights of 32 bits can hold."""

from unlearnkit.errors import MethodError

FLOAT32_MAX = (2 - 2**-23) * 2.0**127


def require_finite(*values: float) -> None:
    """MethodError for a strength that float32 cannot hold."""
    for value in values:
        if not abs(value) <= FLOAT32_MAX:  # nor is NaN
            raise MethodError(f"alpha and norm must be finite float32 numbers, not {value}")
