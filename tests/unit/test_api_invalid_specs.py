"""Every mistake of the table is refused with its one line."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from branchmerge.api.errors import explain
from branchmerge.api.resource import DistillationJob
from builders import make_document
from invalid_specs.entry import InvalidSpec
from invalid_specs.table import INVALID


@pytest.mark.parametrize("invalid", INVALID, ids=lambda invalid: invalid.id)
def test_a_mistake_is_told_in_one_line(invalid: InvalidSpec) -> None:
    with pytest.raises(ValidationError) as caught:
        DistillationJob.model_validate(make_document(invalid.edits))
    assert explain(caught.value, DistillationJob) == [invalid.line]


def test_every_mistake_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(invalid.id for invalid in INVALID).items() if count > 1] == []
