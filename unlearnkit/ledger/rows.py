"""Which rows of a batch are recorded, in the form that costs least to take them."""

import torch

# The same tokens of adjacent examples, as (examples, tokens); or any rows, counted through the batch.
Rows = tuple[slice, slice] | torch.Tensor
EVERY: Rows = (slice(None), slice(None))


def rows_of(mask: torch.Tensor, device: torch.device | str = "cpu") -> Rows:
    """The rows where a (B, T) mask is true; as two slices where these say it: nothing is gathered then.

    Else their numbers, on the device. The mask is the processor's, where looking at it costs no waiting.
    """
    numbers = mask.flatten().nonzero().flatten()
    if len(numbers):
        (first, begin), (last, end) = (divmod(int(k), mask.shape[1]) for k in (numbers[0], numbers[-1]))
        block = slice(first, last + 1), slice(begin, end + 1)
        if mask[block].numel() == len(numbers) and mask[block].all():
            return block
    return numbers.to(device)


def chosen(values: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Those rows of (B, T, width) values: (examples, tokens, width), or (rows, width) if they lie apart."""
    return values[rows] if isinstance(rows, tuple) else values.flatten(0, 1)[rows]
