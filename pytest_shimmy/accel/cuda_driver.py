"""A program of its own: ask NVIDIA's driver library which GPUs a CUDA program would get here.

It alone knows all that CUDA_VISIBLE_DEVICES can say, and it is there where nvidia-smi is not:
in containers with compute rights only, on Jetson boards. Loading a driver can hang or crash, so
it is done in a process that may. Prints one fact a line; the exit code says how far it came.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

OK, NO_LIBRARY, NOT_USABLE = 0, 3, 4
LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def main() -> int:
    try:
        cuda = ctypes.CDLL(LIBRARY)
    except OSError as missing:
        print(f"cannot be loaded: {missing}")
        return NO_LIBRARY
    if error := cuda.cuInit(0):
        print(f"cuInit: error {error} {_name(cuda, error)}".rstrip())
        return NOT_USABLE
    count = ctypes.c_int()
    if error := cuda.cuDeviceGetCount(ctypes.byref(count)):
        print(f"cuDeviceGetCount: error {error} {_name(cuda, error)}".rstrip())
        return NOT_USABLE
    for ordinal in range(count.value):
        name = ctypes.create_string_buffer(256)
        cuda.cuDeviceGetName(name, len(name), ordinal)
        print(f"device {ordinal}: {name.value.decode('utf-8', 'replace')}")
    return OK


def _name(cuda: Any, error: int) -> str:
    text = ctypes.c_char_p()
    try:
        cuda.cuGetErrorName(error, ctypes.byref(text))
    except AttributeError:  # a library older than CUDA 6
        return ""
    return (text.value or b"").decode("ascii", "replace")


if __name__ == "__main__":
    sys.exit(main())
