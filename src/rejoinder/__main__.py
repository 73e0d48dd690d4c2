"""``python -m rejoinder``."""

from __future__ import annotations

from rejoinder.cli import main

main()
