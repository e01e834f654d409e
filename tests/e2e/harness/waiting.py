"""Waiting for conditions, never for time."""

import time


def until(condition, seconds=10.0, what="the condition", every=0.02):
    """Answers the condition's first true value. Fails, saying what never came and how it was last,
    when `seconds` have passed. An exception counts as not yet."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except AssertionError as error:
            last = error
        except OSError as error:  # requests' exceptions are OSErrors too
            last = error
        if time.monotonic() >= end:
            raise AssertionError(f"waited {seconds} s in vain for {what}; last: {last!r}")
        time.sleep(every)
