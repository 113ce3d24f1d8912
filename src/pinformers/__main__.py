"""``python -m pinformers``, and the program ``pinformers``."""

from __future__ import annotations

import contextlib
import io
import os
import sys


def main() -> None:
    """Run the command line, and let Ctrl-C end it in one word from its first import to its last line."""
    try:
        # deferred: what these imports take, a tenth of a second, is as good a time for Ctrl-C as any.
        from pinformers.cli import main as run

        if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
            # A folder whose name is no text can be written all the same; in JSON this is how.
            sys.stdout.reconfigure(errors="backslashreplace")
        run()
    except KeyboardInterrupt:
        # Not through sys.stderr, which is None where it was closed.
        with contextlib.suppress(OSError):
            os.write(2, b"Interrupted.\n")
        sys.exit(130)
    finally:
        # deferred: as above. What is left is Python's own end, which speaks in tracebacks of what interrupts it.
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
