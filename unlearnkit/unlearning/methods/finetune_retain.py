"""Descent on what is retained, from where fine-tuning ended, and the forget set left to fade (D2D)."""

from unlearnkit.unlearning.kinds import trained


@trained(
    title="fine-tuning on the rest",
    family="retraining",
    source="D2D, 2409.09778",
    needs=("examples", "retain", "tokenizer"),
    lr=1e-5,
    steps=100,
)
def finetune_retain(inputs):
    """mean over the batch of retained examples of l_i; the request's are not looked at. Defaults are ours."""
    from unlearnkit.forward import losses

    return lambda _forget, retain: losses(inputs.model, retain).mean()
