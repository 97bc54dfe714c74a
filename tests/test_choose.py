"""Which neurons go, against a slow reference and as laws."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nhnas.search.choose import choose, to_remove
from nhnas.spec.config import Search

LAW = settings(derandomize=True, deadline=None, max_examples=200)


@dataclass(frozen=True)
class Case:
    """Arguments of one choice."""

    importance: dict[str, list[float]]
    added: int
    search: Search
    keep_one: frozenset[str]
    cost: dict[str, float] | None = None
    seed: int = 0

    def chosen(self) -> dict[str, tuple[int, ...]]:
        """What the program chooses."""
        arrays = {site: np.array(values) for site, values in self.importance.items()}
        return choose(arrays, self.added, self.search, keep_one=self.keep_one, cost=self.cost, seed=self.seed)


def random_case(seed: int) -> Case:
    """A few sites with coarse importances, so that ties and both thresholds are met."""
    draw = random.Random(seed)
    sites = [f"b{i}.{draw.choice(['width', 'hidden'])}" for i in range(draw.randint(1, 5))]
    values = {
        site: [
            draw.choice([0.0, 0.01, 0.2, 0.4, 0.5, 1.0, draw.random() * 2]) for _ in range(draw.randint(1, 7))
        ]
        for site in sites
    }
    search = Search(
        add_to_remove=draw.choice([0.5, 2.0, 3.0]),
        threshold_max=draw.choice([0.5, 1.5]),
        compare=draw.choice(["all", "site"]),
    )
    cost = {site: float(draw.randint(1, 9)) for site in sites} if seed % 3 == 0 else None
    keep = frozenset(site for site in sites if site.endswith("width") or draw.random() < 0.2)
    return Case(values, draw.randint(0, 12), search, keep, cost, seed)


def reference(case: Case) -> dict[str, tuple[int, ...]]:
    """The rules of DESIGN §6, one neuron at a time, without random removal."""
    cost = case.cost or dict.fromkeys(case.importance, 1.0)
    rows = {site: in_own_units(row, case.search.compare) for site, row in case.importance.items()}
    everything = [value / cost[site] for site, row in rows.items() for value in row]
    mean = sum(everything) / len(everything) if case.cost else 1.0
    values = [
        (value / cost[site] / (mean or 1.0), i, position, site)
        for i, (site, row) in enumerate(rows.items())
        for position, value in enumerate(row)
    ]
    values.sort()
    number = math.ceil(case.added / case.search.add_to_remove)
    removed: dict[str, set[int]] = {site: set() for site in case.importance}
    for k, (value, _, position, site) in enumerate(values):
        if site in case.keep_one and not any(later[3] == site for later in values[k + 1 :]):
            continue
        if value <= case.search.threshold_min or (number > 0 and value < case.search.threshold_max):
            removed[site].add(position)
            number -= 1
    for site, row in case.importance.items():
        if site not in case.keep_one and len(row) - len(removed[site]) == 1:
            removed[site] = set(range(len(row)))
    return {site: tuple(sorted(positions)) for site, positions in removed.items() if positions}


def in_own_units(row: list[float], compare: str) -> list[float]:
    """Importances of a site, by their mean if sites are not to be compared."""
    mean = float(np.sum(row)) / len(row)  # eight numbers and more have another rounding in a loop
    return [value / mean for value in row] if compare == "site" and mean else row


@pytest.mark.parametrize("seed", range(60))
def test_the_choice_is_that_of_the_rules(seed: int) -> None:
    """Sixty random networks, a third of them with costs, agree with the rules applied one by one."""
    case = random_case(seed)
    assert reference(case) == case.chosen()


def test_no_site_starves_where_each_is_compared_with_itself() -> None:
    """Gradients of one site are a hundred times smaller: compared with all it empties, else both lose."""
    values = {"a.hidden": np.array([1.0, 1.2, 0.8, 1.0]), "b.hidden": np.array([0.01, 0.012, 0.008, 0.01])}
    for compare, expected in (
        ("all", {"b.hidden": (0, 1, 2, 3)}),
        ("site", {"a.hidden": (2,), "b.hidden": (2,)}),
    ):
        search = Search(add_to_remove=1.0, threshold_max=0.9, threshold_min=0.0, compare=compare)  # type: ignore[arg-type]
        assert expected == choose(values, 4, search, keep_one=frozenset(), seed=0)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any importances, ties included, any settings."""
    # smaller ones than 1e-200, divided by a cost, would become ties
    value = st.one_of(st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.floats(1e-200, 5.0))
    rows = draw(st.lists(st.lists(value, min_size=1, max_size=8), min_size=1, max_size=6))
    names = [f"site{i}" for i in range(len(rows))]
    search = Search(
        add_to_remove=draw(st.floats(0.3, 5.0)),
        compare=draw(st.sampled_from(["all", "site"])),
        threshold_min=draw(st.sampled_from([0.0, 0.01, 0.5])),
        threshold_max=draw(st.sampled_from([0.0, 0.5, 10.0])),
        random_remove=draw(st.sampled_from([0.0, 0.3, 1.0])),
    )
    keep = frozenset(name for name in names if draw(st.booleans()))
    cost = {name: draw(st.floats(0.5, 1e4)) for name in names} if draw(st.booleans()) else None
    importance = dict(zip(names, rows, strict=True))
    return Case(importance, draw(st.integers(0, 60)), search, keep, cost, draw(st.integers(0, 2**64)))


@given(case=cases())
@LAW
def test_the_most_important_of_a_kept_site_stays(case: Case) -> None:
    """Whatever the settings, a keep_one site keeps a neuron, and none is more important."""
    chosen = case.chosen()
    for site in case.keep_one:
        row = case.importance[site]
        left = [row[i] for i in range(len(row)) if i not in chosen.get(site, ())]
        assert max(row) == max(left, default=None)


@given(case=cases())
@LAW
def test_positions_are_sorted_unique_and_exist(case: Case) -> None:
    """Each site that is named loses at least one of its own neurons, in ascending order."""
    for site, positions in case.chosen().items():
        assert positions
        assert sorted(set(positions)) == list(positions)
        assert set(positions) <= set(range(len(case.importance[site])))


@given(case=cases())
@LAW
def test_no_residual_keeps_a_single_neuron(case: Case) -> None:
    """Outside keep_one a site keeps none or at least two."""
    chosen = case.chosen()
    for site in case.importance.keys() - case.keep_one:
        assert len(case.importance[site]) - len(chosen.get(site, ())) != 1


@given(case=cases())
@LAW
def test_no_more_than_m_go_above_the_lower_threshold(case: Case) -> None:
    """With no randomness and no residual to give up, M bounds what goes, and thresholds hold."""
    search = case.search.model_copy(update={"random_remove": 0.0})
    everything = frozenset(case.importance)
    chosen = Case(case.importance, case.added, search, everything).chosen()
    rows = {site: in_own_units(row, search.compare) for site, row in case.importance.items()}
    gone = [rows[site][i] for site, positions in chosen.items() for i in positions]
    above = [value for value in gone if value > search.threshold_min]
    assert len(above) <= to_remove(case.added, search)
    assert all(value < search.threshold_max for value in above)


@given(case=cases(), more=st.integers(0, 20))
@LAW
def test_a_larger_m_only_adds_to_the_choice(case: Case, more: int) -> None:
    """What goes when P neurons were added goes when more were."""
    larger = Case(case.importance, case.added + more, case.search, case.keep_one, case.cost, case.seed)
    chosen = larger.chosen()
    for site, positions in case.chosen().items():
        assert set(positions) <= set(chosen[site])


@given(case=cases())
@LAW
def test_the_less_important_of_a_site_goes_first(case: Case) -> None:
    """Without random removal nothing that stays is less important than something that goes."""
    search = case.search.model_copy(update={"random_remove": 0.0})
    chosen = Case(case.importance, case.added, search, case.keep_one, case.cost).chosen()
    for site, positions in chosen.items():
        row = case.importance[site]
        left = [row[i] for i in range(len(row)) if i not in positions]
        assert max(row[i] for i in positions) <= min(left, default=math.inf)


@pytest.mark.parametrize(
    ("added", "ratio", "expected"), [(50, 2.0, 25), (51, 2.0, 26), (7, 0.7, 10), (0, 1.0, 0)]
)
def test_m_counts_whole_neurons(added: int, ratio: float, expected: int) -> None:
    """M = ⌈P/add_to_remove⌉, where 7/0.7 is 10."""
    assert expected == to_remove(added, Search(add_to_remove=ratio))


def test_costly_neurons_go_first() -> None:
    """Of two equally important neurons the one that costs more goes; without costs the earlier."""
    importance = {"cheap": [1.0, 2.0, 2.0], "dear": [1.0, 2.0, 2.0]}
    search = Search(threshold_max=10.0)
    nothing: frozenset[str] = frozenset()
    assert {"cheap": (0,)} == Case(importance, 2, search, nothing).chosen()
    assert {"dear": (0,)} == Case(importance, 2, search, nothing, {"cheap": 1.0, "dear": 9.0}).chosen()


def test_random_removal_has_its_probability() -> None:
    """Of 20,000 neurons that no rule removes, 5% go, and other ones with another seed."""
    search = Search(random_remove=0.05)
    one = Case({"a": [1.0] * 20_000}, 0, search, frozenset(), None, 1).chosen()["a"]
    other = Case({"a": [1.0] * 20_000}, 0, search, frozenset(), None, 2).chosen()["a"]
    assert abs(len(one) - 1000) < 4 * math.sqrt(20_000 * 0.05 * 0.95)
    assert one != other


def test_nothing_to_choose_from() -> None:
    """No removable site, or only empty ones, is no error."""
    assert {} == Case({}, 10, Search(), frozenset()).chosen()
    assert {} == Case({"a": []}, 10, Search(), frozenset()).chosen()


def test_a_ratio_near_zero_takes_all_that_may_go() -> None:
    """However small the number, even where what is to be removed is more than any float: all but one."""
    search = Search(add_to_remove=1e-308, threshold_max=9.0)
    for added in (1, 10**6):
        gone = choose({"a": np.array([1.0, 2.0, 3.0])}, added, search, keep_one=frozenset({"a"}), seed=0)
        assert {"a": (0, 1)} == gone
