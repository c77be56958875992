"""Processes of a test that meet over gloo."""

import datetime
import time

import torch

MOST_SECONDS = 60


def join(rank, world_size, meeting):
    """Joins the other processes, in a file where they meet."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=MOST_SECONDS),
    )


def outcome(call, *arguments):
    """What a call returns, or its error in words, of which the keyboard's is one."""
    try:
        return call(*arguments)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def leave():
    """Ends the membership, once the group's thread has let go of the last tensors.

    That of torch 2.6 would wait for Python's lock for that, which the end holds and waits for it.
    """
    time.sleep(0.2)
    torch.distributed.destroy_process_group()
