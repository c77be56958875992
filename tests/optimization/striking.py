"""Interrupts of the keyboard at any call within a run."""

import sys

from tqdm.std import TqdmDefaultWriteLock

# An interrupt within these leaves the lock of all bars taken, and other threads wait for ever.
_SPARED = {
    getattr(TqdmDefaultWriteLock, name).__code__
    for name in ("acquire", "release", "__enter__", "__exit__")
}


class _Striking:
    """Strikes with an interrupt at the start of a call within a function, in libraries too."""

    def __init__(self, code, call):
        self.code, self.call, self.count, self.runs = code, call, 0, False

    def __call__(self, frame, event, arg):
        if frame.f_code is self.code:
            self.runs = True
            return self.watch
        if self.runs and frame.f_code not in _SPARED:
            self.count += 1
            if self.count == self.call:
                sys.settrace(None)
                raise KeyboardInterrupt
        return None

    def watch(self, frame, event, arg):
        if event == "return":
            sys.settrace(None)
        return self.watch


def struck(within, call, fit):
    """Fits with an interrupt at a call within a function, or without one if that is -1.

    Returns how many calls there were, and what comes of the fit.
    """
    striking, before = _Striking(within.__code__, call), sys.gettrace()
    try:
        sys.settrace(striking)
        fitted = fit()
    finally:
        sys.settrace(before)
    return striking.count, fitted
