"""The laws of DESIGN §5 over random architectures and edit lists; see `case.FORMS` for what they cover."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws import checks, exactness
from tests.laws.case import KINDS, Case, random_case, recorded

SEEDS = st.integers(0, 2**63)
CASES = 300


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_every_edit_has_an_inverse(seed: int) -> None:
    """`apply(apply(a, e), e.inverse) == a` for every kind of edit, and for lists."""
    checks.check_inverse(recorded(random_case(seed), KINDS))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_diff_leads_from_one_architecture_to_the_other(seed: int) -> None:
    """`apply(a, diff(a, apply(a, d))) == apply(a, d)`, there and back."""
    checks.check_diff(recorded(random_case(seed)))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_diff_leads_between_unrelated_architectures(seed: int) -> None:
    """`apply(a, diff(a, b)) == b` where a and b share input and output only."""
    checks.check_diff(recorded(checks.unrelated_case(seed)))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_remapped_tensors_are_those_of_the_module(seed: int) -> None:
    """Names and shapes agree, and every live parameter is trained exactly once, no dead one is."""
    checks.check_module(recorded(random_case(seed)))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_the_composed_recipe_carries_every_cell_where_single_edits_do(seed: int) -> None:
    """Every cell is the old one, zero or the keyed random number that a slow reference finds."""
    checks.check_fold(recorded(random_case(seed)))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_recipes_compose(seed: int) -> None:
    """Cutting a list anywhere and composing its halves changes no index and no mark, of sites neither."""
    case = recorded(random_case(seed))
    checks.check_composition(case)
    checks.check_sites(case)


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_new_neurons_differ(seed: int) -> None:
    """No two new neurons of a site hear the same."""
    checks.check_new_neurons(recorded(random_case(seed)))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_random_values_depend_on_their_place_alone(seed: int) -> None:
    """However additions are ordered or divided, every cell gets the same value."""
    checks.check_order(recorded(random_case(seed)))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_optimizer_entries_follow(seed: int) -> None:
    """Kept moments and ages are bitwise the old ones, new ones are 0, of dead tensors nothing is left."""
    checks.check_optimizer(recorded(random_case(seed)))


@settings(max_examples=CASES)
@given(seed=SEEDS)
def test_the_output_stays(seed: int) -> None:
    """Add, promote, collapse, an identity turned into a leaf, a kernel that grows, removal after fading."""
    case = exactness.exact_case(seed)
    recorded(case)
    exactness.check_exact(case)
    exactness.check_fade_plan(case)


def test_cases_are_reproducible() -> None:
    """The same seed is the same case."""
    first: Case = random_case(7)
    assert first == random_case(7)
