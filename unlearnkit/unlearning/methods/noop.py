"""Control: no change at all."""

from unlearnkit.unlearning.kinds import line


@line(title="no change", family="control")
def noop(_inputs):
    """The empty direction."""
    return iter(())
