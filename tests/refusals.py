"""What every refusal of bad data must be: one sentence."""

from __future__ import annotations

import pytest

from bench.errors import UserError


def refused(call, *told):
    """The one sentence that `call` is refused with."""
    with pytest.raises(UserError) as error:
        call()
    text = str(error.value)
    assert text.endswith((".", "?"))  # a suggestion may follow
    assert "\n" not in text
    for word in told:
        assert str(word) in text
    return text
