"""The line from theta_T to a method's first optimizer step, which may lead past all that is to be read."""

from dataclasses import replace

from unlearnkit import unlearning, weights


class Line:
    """From theta_T to where the first optimizer step brought the model: the touched weights of both."""

    def __init__(self, step: unlearning.Result):
        self.step, touched = step, step.originals.touched
        self.before = dict(weights.read(step.originals.path))
        self.after = {name: p.detach().clone() for name, p in touched.items()}

    def to(self, share: float) -> unlearning.Result:
        """The model at a share of the way, in place; the step itself at 1, bit for bit."""
        for name, parameter in self.step.originals.touched.items():
            after = self.after[name]
            there = after if share == 1 else self.before[name].to(after).lerp(after, share)
            parameter.data.copy_(there)
        return replace(self.step, norm=share * self.step.norm, told=self.step.told | {"step": share})
