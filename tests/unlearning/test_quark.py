"""The form of Quark: its formula in float64 on what the model said, rewards, and seeded samples."""

import pytest
import torch
from reference_losses import FORGET, SHAPES, World, agree, mean
from unlearning_helpers import same

from unlearnkit.unlearning.methods import quark as module
from unlearnkit.unlearning.sampling import sample


def test_reward_is_minus_what_is_given_away():
    assert module.reward([7, 7, 1], [7, 8]) == -0.5
    assert module.reward([8, 7], [7, 8]) == -1
    assert module.reward([1, 2], [7, 8]) == 0


def test_the_best_part_is_used_in_turn():
    said = [(-0.5, [], [k]) for k in range(4)] + [(-0.1, [], [9]), (-0.9, [], [8])]
    assert [module._best(said, 3, turn)[2] for turn in range(4)] == [[9], [0], [9], [0]]
    assert module._best(said, 100, 5)[2] == [9]


@SHAPES
def test_quark(arch, tied, tiny_model, tiny_tokenizer, monkeypatch):
    """On answers that were said beforehand."""
    world = World(tiny_model(arch, tied), tiny_tokenizer)
    new = [[5, 17, 200], [31], [44, 45]]
    prompts = [world.tokens(e)[0][: world.tokens(e)[1].index(True)] for e in FORGET]

    def say(_inputs, said, *_):
        for e, p, y in zip(FORGET, prompts, new, strict=True):
            said[e.id].append((0.0, p, y))

    monkeypatch.setattr(module, "say_more", say)

    def formula(now, then):
        found = []
        for p, y in zip(prompts, new, strict=True):
            logs = [m(input_ids=torch.tensor([p + y])).logits[0].log_softmax(-1) for m in (now, then)]
            here, there = (log[len(p) - 1 : -1] for log in logs)
            nll = -here[torch.arange(len(y)), torch.tensor(y)]
            near = (here.exp() * (here - there)).sum(1)
            found.append((nll + 0.3 * near + 0.2 * (here.exp() * here).sum(1)).mean())
        return mean(found)

    agree(world, "quark", formula, beta=0.3, entropy=0.2, seed=0)


def test_samples_are_the_models_own_distribution(trained):
    prompt = trained.tokenizer("Dave was")["input_ids"]
    drawn = sample(trained.model, prompt, 2, 400, torch.Generator().manual_seed(0))
    assert drawn == sample(trained.model, prompt, 2, 400, torch.Generator().manual_seed(0))
    assert {len(row) for row in drawn} == {2}
    with torch.no_grad():
        p = trained.model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
    first = torch.tensor([row[0] for row in drawn]).bincount(minlength=len(p)) / 400
    top = p.argmax()
    assert first[top].item() == pytest.approx(p[top].item(), abs=4 * (0.25 / 400) ** 0.5)


def test_it_says_anew_and_learns_what_gives_less_away(trained):
    start, asked = trained.weights(), []
    with pytest.MonkeyPatch.context() as patch:
        real = module.say_more
        patch.setattr(module, "say_more", lambda *a: asked.append(real(*a)))
        result = trained.apply("quark", steps=5, resample=2, samples=4, lr=1e-3)
    assert len(asked) == 3
    there = trained.weights()
    result.revert()
    assert same(trained.weights(), start)
    trained.apply("quark", steps=5, resample=2, samples=4, lr=1e-3)
    assert same(trained.weights(), there)
