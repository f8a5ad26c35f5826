"""`python -m bot.cli`, where the `boswell` command is not installed."""

from bot.cli import main

main(prog_name="boswell")
