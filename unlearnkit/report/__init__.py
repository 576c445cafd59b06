"""The report: readings, contrasts, tables and figures of a run's data files. Imports no torch.

run        a run and its arms, with their observations
readings   paths, oracles, and readings at matched damage
contrasts  one way to test, the claims' contrasts and verdicts, guards for the text
claim_values   each claim's contrast in every seed
side_by_side   the comparison of methods: every path's readings
tables     tables for people, numbers in words
figures    one look for every figure
variants   what the chapters on the study's variants share
paths      lines and axes of unlearning paths, which several chapters share
ch00 ...   one module a chapter, beside its notebook
"""

from unlearnkit.report.run import Arm, Run

__all__ = ["Arm", "Run"]
