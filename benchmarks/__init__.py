"""What Boswell costs beside plainer programs of the same job; `make bench` measures and keeps the results.

servers     a Telegram Bot API server that also drives the load, and a streaming chat-completions server
programs/   the handlers that Boswell is measured against; they share no code with it
measure     starts a program, drives it, reads its CPU, memory and latency
report      the figures as a table beside the targets
"""
