"""Whether the watch of jobs lives: what it told, against what lists show."""

from __future__ import annotations

from branchmerge.kube.witness import Witness

MATH, CODE = ("team", "math"), ("team", "code")


def jobs(**versions: str) -> list[dict[str, dict[str, str]]]:
    return [
        {"metadata": {"namespace": "team", "name": name, "resourceVersion": version}}
        for name, version in versions.items()
    ]


def test_a_watch_that_tells_all_is_well() -> None:
    witness = Witness()
    witness.told(MATH, "1")
    assert witness.compare(jobs(math="1")) == []
    witness.told(MATH, "2")
    assert witness.compare(jobs(math="2")) == []
    assert witness.missed == ()


def test_a_watch_may_be_late_but_not_for_long() -> None:
    witness = Witness()
    assert witness.compare(jobs(math="1")) == [MATH], "it is worked on, though the watch said nothing"
    assert witness.missed == ()
    assert witness.compare(jobs(math="1")) == [MATH]
    assert witness.missed == ("team/math",)


def test_a_job_that_changes_all_the_time_is_not_missed() -> None:
    witness = Witness()
    for version in range(1, 6):
        witness.told(MATH, str(version))
        witness.compare(jobs(math=str(version + 1)))
        assert witness.missed == ()


def test_the_end_of_a_job_can_be_missed_too() -> None:
    witness = Witness()
    witness.told(MATH, "1")
    witness.told(CODE, "2")
    assert witness.compare(jobs(code="2")) == [MATH]
    witness.compare(jobs(code="2"))
    assert witness.missed == ("team/math",)
    witness.gone(MATH)
    assert (witness.compare(jobs(code="2")), witness.missed) == ([], ())


def test_a_watch_that_comes_back_is_well_at_once() -> None:
    witness = Witness()
    witness.compare(jobs(math="1"))
    witness.compare(jobs(math="1"))
    witness.told(MATH, "1")
    assert witness.missed == ()
