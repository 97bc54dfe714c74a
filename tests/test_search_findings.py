"""Settings of the search that cannot hold together, in the section and in its schedule."""

from __future__ import annotations

import pytest

from nhnas.spec.document import parse_document
from nhnas.spec.errors import InputError

HEAD = "format: 1\nname: x\ninput: [2]\nnet: [{name: d, op: dense, width: 2}]\n"


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            "{min_epochs: 3, max_epochs: 1}",
            "5:37: search.max_epochs: 1 is below min_epochs, which is 3",
        ),
        ("{min_epochs: 20}", "5:22: search.min_epochs: 20 is above max_epochs, which is 10"),
        (
            "{min_epochs: 3, max_epochs: 9, schedule: [{until: 5, max_epochs: 2}, {until: 9}]}",
            "5:74: search.schedule[0].max_epochs: 2 is below min_epochs, which is 3",
        ),
        (
            "{schedule: [{until: 5, min_epochs: 11}]}",
            "5:44: search.schedule[0].min_epochs: 11 is above max_epochs, which is 10",
        ),
    ],
)
def test_a_fit_that_would_end_before_it_may(search: str, message: str) -> None:
    """One line, at the key that is written there."""
    with pytest.raises(InputError) as caught:
        parse_document(f"{HEAD}search: {search}\n".encode())
    assert f"spec:{message}" == str(caught.value)


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("{min_epochs: 3, max_epochs: 3}", {"min_epochs": 3, "max_epochs": 3}),
        (
            "{min_epochs: 20, max_epochs: 20, schedule: [{until: 5, min_epochs: 1, max_epochs: 1}]}",
            {"min_epochs": 20, "max_epochs": 20},
        ),
        ("{threshold_min: 1.3}", {"threshold_min": 1.3, "threshold_max": 0.5}),
    ],
)
def test_what_may_be(search: str, expected: dict[str, float]) -> None:
    """As many at most as at least; and `threshold_min` above `threshold_max`: all up to it leave."""
    found = parse_document(f"{HEAD}search: {search}\n".encode()).search.model_dump(include=set(expected))
    assert expected == found
