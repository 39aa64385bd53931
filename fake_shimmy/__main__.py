"""Entry point of ``fake-shimmy`` and ``python -m fake_shimmy``.

Strategy: before anything else is imported the signals get back the meaning they have for a
program that knows nothing of them, so an interrupt during start-up kills it without a word.
Only ``serve`` collects garbage, once it has started: modules make thousands of objects, and hardly
any garbage.
"""

from __future__ import annotations

import gc
import signal
import sys


def main() -> None:
    """Run the command line of this process and exit."""
    gc.disable()
    # An interrupt that the parent had set to be ignored stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    import os

    from fake_shimmy import rust
    from fake_shimmy.commands import main as command_line
    from fake_shimmy.rust import console

    console.open_missing()
    command_line.run([rust.from_os(os.fsencode(argument)) for argument in sys.argv])
    sys.exit(0)


if __name__ == "__main__":
    main()
