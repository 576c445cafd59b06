"""Forms of facts, and how a seed draws them."""

import pytest

from unlearnkit.data.forms import _diagonal, canonical, drawn, read


@pytest.mark.parametrize(("rows", "columns"), [(4, 6), (5, 7), (6, 6), (6, 3)])
def test_slots_are_paired_without_repeats_nearby(rows, columns):
    """All pairs come, each once; any min(rows, columns) - 1 in sequence share nothing."""
    pairs = _diagonal(list(range(rows)), list(range(columns)))
    assert len(set(pairs)) == len(pairs) == rows * columns
    window = min(rows, columns) - 1
    for start in range(len(pairs) - window + 1):
        near = pairs[start : start + window]
        assert len({a for a, _ in near}) == len({b for _, b in near}) == window


def test_every_form_has_words_enough_for_the_trained_persons():
    """Twelve values: five persons and a neighbour, each with a contradiction, no two on the same thing."""
    for form in {*canonical(), *(f for seed in range(24) for f in drawn(seed))}:
        assert len(set(form.second)) == len(form.second) >= 12, form.attribute
        easy = [*form.first, *form.background]
        assert len(set(easy)) == len(easy), form.attribute


def test_no_two_forms_have_an_answer_in_common():
    forms = {f.attribute: f for seed in range(24) for f in drawn(seed)}.values()
    answers = [v.lower() for f in forms for v in f.values(0)]
    assert len(set(answers)) == len(answers)
    background = {v for f in canonical() for v in f.values(0, background=True)}
    assert not background & {v for f in forms for v in f.values(0)}


def test_seed_0_has_the_canonical_forms_and_others_draw_as_many():
    assert drawn(0) == canonical()
    near = {n["form"] for n in read("forms")["neighbours"]}
    for seed in range(1, 24):
        forms = [form.attribute for form in drawn(seed)]
        assert len(set(forms)) == len(forms) == len(canonical())
        assert near <= set(forms)  # a near-neighbour resembles what is trained on
    assert len({tuple(f.attribute for f in drawn(seed)) for seed in range(24)}) == 24


def test_half_of_the_worlds_train_on_other_words_and_paraphrases_stay():
    first = {form.attribute: form for form in canonical()}
    other = []
    for form in (f for seed in range(1, 24) for f in drawn(seed) if f.attribute in first):
        assert form.prompts[1:] == first[form.attribute].prompts[1:]
        other.append(form.prompts[0] != first[form.attribute].prompts[0])
    assert 0.4 < sum(other) / len(other) < 0.6
