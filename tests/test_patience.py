import time

import pytest

from tests import patience


def test_limits_grow_with_the_load_and_promises_can_be_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert patience.slowness() >= 1
    monkeypatch.setattr(patience, "slowness", lambda: 1.0)
    idle = patience.seconds(2)
    with pytest.raises(AssertionError, match=r"where 0\.01 s are promised"), patience.within(0.01):
        time.sleep(0.02)
    monkeypatch.setattr(patience, "slowness", lambda: 100.0)
    assert idle == 2 * patience.GENEROUS and patience.seconds(2) == 100 * idle
    with patience.within(0.01):
        time.sleep(0.02)
