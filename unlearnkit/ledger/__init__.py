"""The gradient ledger: every example's exact gradient, kept as factors, recorded while training.

listening what a model does with its parameters; sites: which are recorded, and how; layout: as what
proof     every parameter of one small batch held against autograd, before anything is recorded
recorder  hooks that take what is recorded from the backward pass; rows: which of a batch's those are
slab      memory that gathers and writes it; staging: of a model on a GPU
shard     the file format; store: the folder and its index
locking   one process at a time writes
identity  whether a model is the one that a ledger is about
algebra   dense gradients and dot products from factors; weighted: in a metric; kronecker: second moments
reader    which shard holds which record, decoded in chunks of bounded size
book      GradientLedger: open, sum, dot, norms, verify; purging: removing records for good
traces    whether a purge left any byte of them, in any file
wholeness what `verify` asks of a ledger
recording new ledgers, and gradients of a model that is not trained
"""

from unlearnkit.errors import LedgerError
from unlearnkit.ledger.book import GradientLedger
from unlearnkit.ledger.recorder import Recorder
from unlearnkit.ledger.recording import create, record, record_batches, recorded

__all__ = ["GradientLedger", "LedgerError", "Recorder", "create", "record", "record_batches", "recorded"]
