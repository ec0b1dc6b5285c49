"""What learners share in a test process, which would hide a fault if they shared too much."""

from typing import Any

import pytest

from backends import framework as framework_named
from backends import learner_of, module_of
from reference.cases import make_case


def test_a_compiled_burst_is_shared_by_learners_that_compute_the_same_and_by_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = make_case("ddpg")
    page = module_of(case, framework_named("jax"))

    def burst(**settings: Any) -> Any:
        return vars(learner_of(make_case("ddpg", **settings), "jax"))["_burst"]

    first = burst()
    assert burst(updates=3) is first
    assert burst(discount=0.5) is not first
    assert burst(action_size=2) is not first
    with monkeypatch.context() as patch:
        patch.setattr(page, "critic_loss", lambda *rest: None)
        assert burst() is not first
    assert burst() is first
