"""Machine unlearning from a gradient ledger: fine-tuning that records, methods that forget, tests of both.

What a user calls, lowest first; nothing imports upward (`tests/test_structure.py` has the whole order):

data, models   facts and persons; models by name, folder or hub id
layers         names of a model's parts
ledger         every example's exact gradient; training: fine-tuning that records it
influence      dot products, inverse-Hessian steps (ekfac); requests: whom a request means
unlearning     `apply`, `path`, and a file a method
metrics, stats what a model knows, and how that is tested; claims: what was registered before the runs
study          the runs; report: what their data say; publishing: notebooks, the site, the command `forget`
"""
