"""`boswell` whose people are indexed a few seconds after their last turn, so that a short run has all of that work in it."""

from __future__ import annotations

from functools import partial

import bot.app
from benchmarks.search import QUIET
from bot.cli import main
from bot.indexing import Indexing

bot.app.Indexing = partial(Indexing, quiet=QUIET)  # type: ignore[misc, assignment]
main()
