"""JSON that loses no number."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.wire.strict_json import encode

VALUES = st.recursive(
    st.none() | st.floats() | st.text(max_size=5) | st.just("null"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def finite(value: object) -> bool:
    """Say the rule as simply as possible."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    return not isinstance(value, list) or all(map(finite, value))


@given(VALUES)
def test_what_is_written_is_read_again_and_the_rest_refused(value: object) -> None:
    if finite(value):
        assert json.loads(encode(value)) == value
    else:
        with pytest.raises(ValueError, match="JSON has no number"):
            encode(value)


def test_nulls_that_are_known_hide_no_number() -> None:
    assert encode(("r", None, 1), nulls=1) == b'["r",null,1]'
    with pytest.raises(ValueError, match="nan"):
        encode(("r", None, math.nan), nulls=1)
