"""Speed and size, measured fairly: every side runs in turn, in one process, and ratios are what counts.

command    `python -m unlearnkit bench WHAT`
cases      what can be measured, on which models, and where the results lie
bars       what the results must reach, and how far they do
timing     sides, interleaved rounds, ratios
setting    a model and its batches
sides      ways to take a step that keeps each example's gradient; peers: those of other packages
steps      cases: a step of every side, the same where freed memory is kept, and as the work grows
sizes      bytes an example, by layer kind, and errors against autograd
memory     cases: peak memory of every side, and at ten times the examples
device     case: the ledger of a GPU; adapters: what it measures at each of its points
influence  case: gradient dot products from factors against dense ones
unlearn    case: applying a request against a training step, and against retraining
"""
