"""What attacks have in common: a number decides each, and another number makes another one."""

import contextlib
import multiprocessing
import random
import signal
import sys
import time

import torch

# Whichever test starts a process first, the others begin as fast.
_PRELOADED = ["pytest", "sklearn.mixture", "pyro_ugmm.em", "pyro_ugmm.training"]
multiprocessing.set_forkserver_preload(_PRELOADED)


def damaged(contents, number):
    """Contents of a file, other than they are: as a disk, a cut-off copy or a stray write leaves
    them.
    """
    choose = random.Random(number)
    place = choose.randrange(len(contents))
    length = choose.randrange(1, 65)
    garbage = choose.randbytes(length)
    found = [
        contents[:place] + bytes([contents[place] ^ (1 << choose.randrange(8))]),
        contents[:place],
        contents[:place] + garbage,
        contents[:place] + bytes(length),
        contents[: max(0, place - length)],
    ][number % 5]
    if number % 5 in (0, 2, 3):
        found += contents[len(found) :]
    if number % 5 == 4:  # bytes are left out
        found += contents[place:] or b"\0"
    return found if found != contents else contents[:place]


def interrupted_at(line, call):
    """Calls with an interrupt at a line of Python, in libraries too.

    Returns what came of it, None if that was the interrupt, and how many lines there were.
    """
    count, before, result = 0, sys.gettrace(), None

    def trace(frame, event, arg):
        nonlocal count
        if event == "line":
            count += 1
            if count == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    try:
        sys.settrace(trace)
        result = call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return result, count


def interrupted_after(seconds, call):
    """Calls with an interrupt by a signal after some time; returns what came of it, or None."""
    waiting = True

    def strike(*args):
        if waiting:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
            return call()
    finally:
        waiting = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed(call):
    """Returns what a call returns, and the seconds it takes."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def killed_after(seconds, function, *args):
    """Kills a process some time after a function begins in it."""
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=_begin, args=(theirs, function, args))
    process.start()
    theirs.close()  # so that a process that does not begin is an error, and not waited for
    assert ours.recv() == "begun"
    time.sleep(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)


def _begin(pipe, function, args):
    torch.set_num_threads(1)
    pipe.send("begun")
    function(*args)
