"""GOV-9: a new erasure does not wait for as long as one that has waited for long already."""

from __future__ import annotations

from memos_ray.actors.vault.receipt_pace import LOOK_MAX_S, LOOK_MIN_S, LookPace


def test_GOV_9_a_new_receipt_is_looked_at_soon_after_long_pauses() -> None:
    pace, pauses = LookPace(), []
    for _ in range(12):
        pauses.append(pace.pause_s)
        pace.looked(0.0)
    assert pauses[:3] == [LOOK_MIN_S, 2 * LOOK_MIN_S, 4 * LOOK_MIN_S]
    assert pauses[-1] == pace.pause_s == LOOK_MAX_S
    pace.begun()
    assert pace.pause_s == LOOK_MIN_S
    pace.looked(0.0)
    assert pace.pause_s == 2 * LOOK_MIN_S


def test_GOV_9_however_many_are_pending_looks_take_no_more_than_half_of_the_time() -> None:
    pace = LookPace()
    for took_s in (3.0, 40.0, 2.0):
        pace.looked(took_s)
        assert pace.pause_s >= took_s
        pace.begun()
        assert pace.pause_s == took_s
