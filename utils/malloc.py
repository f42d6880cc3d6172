"""Tuning of the C library's memory allocation."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = 1 << 30  # bytes


def tune_malloc() -> None:
    """Keep freed memory in the process, for the next tensors or images of the same size.

    By default glibc returns large blocks to the system immediately and gets them back page by page, which takes a tenth
    of a training step on the CPU and a fifth of decoding a panorama. Does nothing with another C library.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        # Older versions reject thresholds above 32 MiB.
        mallopt(_M_MMAP_THRESHOLD, _LARGEST // 2) or mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST)
