"""The denoising rule, on streams small enough to follow by hand. Sensor positions are (x, y)."""

from difflogic_tonic.events import denoise, make_events

FAR = 1_000_000
"""A time at which the warm-up is over for every `denoise_us` used here."""


def kept(times: list[int], pixels: list[tuple[int, int]], denoise_us: int, warmup: str = "keep") -> list[int]:
    """Positions of the events that survive."""
    x, y = zip(*pixels, strict=True)
    events = make_events(x, y, range(len(times)), [0] * len(times))
    events = make_events(events.x, events.y, times, events.p)
    survived = denoise(events, denoise_us, warmup)  # type: ignore[arg-type]
    return [times.index(t) for t in survived.t.tolist()]


def test_a_neighbour_supports_until_just_before_denoise_us_have_passed():
    pixels = [(1, 1), (2, 1)]
    assert kept([FAR, FAR + 9], pixels, 10) == [1]
    assert kept([FAR, FAR + 10], pixels, 10) == []


def test_all_four_neighbours_support_and_the_diagonals_do_not():
    for x, y in [(0, 1), (2, 1), (1, 0), (1, 2)]:
        assert kept([FAR, FAR + 1], [(x, y), (1, 1)], 10) == [1]
    for x, y in [(0, 0), (2, 0), (0, 2), (2, 2)]:
        assert kept([FAR, FAR + 1], [(x, y), (1, 1)], 10) == []


def test_a_pixel_does_not_support_itself():
    assert kept([FAR, FAR + 1, FAR + 2], [(1, 1)] * 3, 10) == []


def test_events_that_are_dropped_support_their_neighbours():
    assert kept([FAR, FAR + 5, FAR + 12], [(1, 1), (2, 1), (3, 1)], 10) == [1, 2]


def test_polarity_is_ignored():
    events = make_events([1, 2], [1, 1], [FAR, FAR + 1], [0, 1])
    assert denoise(events, 10).p.tolist() == [1]


def test_the_first_denoise_us_are_kept_where_a_pixel_has_a_neighbour_that_fires_at_some_time():
    times, pixels = [0, 9, 10, 30], [(0, 0), (0, 0), (0, 0), (1, 0)]
    assert kept(times, pixels, 10) == [0, 1]


def test_warmup_drop_asks_for_support_from_the_first_event_on():
    times, pixels = [0, 9, 10, 30], [(0, 0), (0, 0), (1, 0), (1, 0)]
    assert kept(times, pixels, 10, "keep") == [0, 1, 2]
    assert kept(times, pixels, 10, "drop") == [2]


def test_in_the_warm_up_pixels_up_to_the_last_column_and_row_that_fire_support():
    assert kept([0, 1, 2], [(0, 0)] * 3, 10) == []
    assert kept([0, 1, 2], [(3, 2)] * 3, 10) == [0, 1, 2]


def test_rows_do_not_wrap_around():
    """The last pixel of a row and the first of the next are side by side in memory, and not on the sensor."""
    assert kept([FAR, FAR + 1, FAR + 100], [(4, 0), (0, 1), (4, 2)], 10) == []


def test_zero_keeps_everything():
    assert kept([FAR, FAR + 1], [(0, 0), (3, 2)], 0) == [0, 1]


def test_no_events_stay_no_events():
    assert len(denoise(make_events([], [], [], []), 10)) == 0


def test_the_events_given_are_not_changed():
    events = make_events([1, 2], [1, 1], [FAR, FAR + 1], [0, 1])
    denoise(events, 10)
    assert events.t.tolist() == [FAR, FAR + 1]
