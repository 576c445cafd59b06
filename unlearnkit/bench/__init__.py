"""Speed and size, measured fairly: every side runs in turn, in one process, and ratios are what counts.

command    `python -m unlearnkit bench WHAT`
results    what was found, read from figures/benchmarks; report   the bars, and how far it reaches them
setting    a model and its batches; timing   interleaved rounds, children, provenance
sides      ways to take a step that keeps each example's gradient; peers   those of other packages
ledger     speed and bytes of a step with the ledger against other ways to keep each example's gradient
kept       the same with vmap where a process keeps the memory it has freed
memory     peak memory of each of these ways; growth   the ledger's cost as batch, tokens and model grow
influence  gradient dot products from factors against dense ones
unlearn    applying a request against a training step, and against retraining
scale      memory and throughput at ten times the examples
"""
