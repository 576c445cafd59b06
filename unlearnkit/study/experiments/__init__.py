"""Experiments: cached cells of work that end in observation rows. Nothing here knows a profile or a figure.

train     cells that train: fine-tuning with its ledger, the rewind identity
oracles   cells of the target: retraining without the forget set
unlearn   cells that unlearn and measure: paths and close-ups
matched   a method to where the forget facts are what they are to the oracle
examine   every test of the protocol, on one model; verify: the cells that make them
align     cells of inner products: where stored gradients point
planted   cells that score layers, where those that learnt the target are known
validate  cells that hold influence scores against retraining
setting   what cells that stand on a fine-tuning start from
measure   from a model to observation rows
portrait  the close-up of one model
compare   cells that compare methods; line: to their first step; ways: what they are given of a training
duration  cells that follow unlearning while it lasts
imitate   the oracle's imitator, which has forgotten nothing
sequence  cells of requests in sequence
words     cells that listen to what a model says along a path
"""
