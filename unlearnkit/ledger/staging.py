"""The slab of a model on a GPU: a step is gathered there, and comes here while the next one is computed.

Nothing waits for the GPU. A step's tensors are gathered in float32 as the backward pass meets them; at its
end those of a shape are scaled and cast at once, by exponents that are found there too, and copied to pinned
memory beside the computation. Only the thread that writes the shard waits, for the copies that it needs.
"""

from collections.abc import Mapping

import torch

from unlearnkit.ledger.rows import EVERY, Rows, chosen
from unlearnkit.ledger.slab import FP16_LEAST, FP16_TOP, Shape, Slab
from unlearnkit.ledger.store import Store


def exponents(tops: torch.Tensor) -> torch.Tensor:
    """`slab.scale_exponent` of each of these largest magnitudes (n,), and 0 where halves fit as they are."""
    fits = (tops >= 2.0**FP16_LEAST) & (tops < 2.0 ** (FP16_TOP + 1))
    known = (tops > 0) & tops.isfinite() & ~fits
    return (FP16_TOP - torch.frexp(tops).exponent).clamp(-100, 100).where(known, 0)


class StagingSlab(Slab):
    """Gathers the records of whole steps on a device. Each step's records do not depend on those before."""

    def __init__(self, store: Store, device: torch.device):
        super().__init__(store)
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def _blocks(self, sizes: Mapping[Shape, tuple[int, int, int]]) -> dict[Shape, torch.Tensor]:
        """Room on the device: what will be halves is float32 until the step's end."""
        wide = {shape: torch.float32 if shape.dtype == torch.float16 else shape.dtype for shape in sizes}
        return {
            shape: torch.empty(size, dtype=wide[shape], device=self.device) for shape, size in sizes.items()
        }

    def put_ids(self, name: str, ids: torch.Tensor, rows: Rows) -> None:
        self.put(name, ids.unsqueeze(-1), rows)

    def put(self, name: str, values: torch.Tensor, rows: Rows = EVERY) -> None:
        """Bring those rows of (B, T, width) values to their room."""
        picked = chosen(values, rows)
        self.rooms[name].view(picked.shape).copy_(picked)
        self.step.exponents[name] = 0  # known once the step has arrived

    def end(self, epoch: int, number: int, rate: float) -> None:
        """Close the step, and send it on its way. LedgerError if some tensor was not put in it."""
        found, ready = {}, {}
        for shape, block in self.step.blocks.items():
            if shape.dtype == torch.float16 and block.numel():
                found[shape] = exponents(torch.linalg.vector_norm(block.flatten(1), torch.inf, dim=1))
                scale = torch.exp2(found[shape].to(block.dtype))[:, None, None]
                block = torch.mul(block, scale, out=torch.empty_like(block, dtype=shape.dtype))
            ready[shape] = block.to(shape.dtype)
        self._send(ready, found)
        self.used += sum(block.nbytes for block in ready.values())
        super().end(epoch, number, rate)
        self.rooms = {}  # what was gathered goes before the next step's is

    def _send(self, blocks: dict[Shape, torch.Tensor], found: dict[Shape, torch.Tensor]) -> None:
        """Copy a step here; on a GPU beside what it computes next, to memory that torch keeps pinned."""
        step, layout, stream, copied = self.step, self.layout, self.stream, None
        told = step.exponents  # not the step itself, which would then hold its memory in a circle
        if stream is None:
            step.blocks, here = ({s: t.cpu() for s, t in sent.items()} for sent in (blocks, found))
        else:
            stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(stream):
                step.blocks, here = (
                    {s: t.to("cpu", non_blocking=True) for s, t in sent.items()} for sent in (blocks, found)
                )
            for sent in (*blocks.values(), *found.values()):
                sent.record_stream(stream)  # its memory is not given to others before
            copied = stream.record_event()

        def arrive() -> None:
            if copied is not None:
                copied.synchronize()
            for shape, values in here.items():
                told.update(zip(layout[shape], values.tolist(), strict=True))

        step.arrive = arrive
