"""Runs a command whose state directory is a small disk of its own, which it mounts for itself alone.

Run in a mount namespace of its own, see `test_disk.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys


def main(directory: str, size: str, *command: str) -> None:
    """Mount the disk, and become the command."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", directory], check=True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
