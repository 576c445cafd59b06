"""Experiments: cached cells of work that end in observation rows. Nothing here knows a profile or a figure.

cells     content-hashed caching of one unit of work
train     cells that train: fine-tuning with its ledger, oracles, the rewind identity
unlearn   cells that unlearn and measure: paths and close-ups
measure   from a model to observation rows
readings  where a path costs a given retain damage, and values there
"""
