"""Boswell: one assistant in every chat, that remembers. This is the map of the house.

An update's way through it, in order:

    adapters/<platform>   receives it and hands it to the engine, before confirming it to the platform
    engine                keeps it in the inbox; per stream one after the other, streams side by side
    access                is this person let in, is it for us, is it a command
    setup                 what of the configuration works on turns, replaced whole at a reload
    own                   what we enter into the inbox ourselves; it goes the same way
    turns                 one update worked through to its end; answering: a turn of the agent, in guarded transactions
      room                what a group said before
    limits                what it may cost: booked before each call, settled after it; usage: the reports; places: turns at a time
    asides, commands      what is answered without a model; pairing: letting strangers in; linking: who is one person
    agent                 the loop of model and tools, on a `stream` (a durable log and a bus) of `events`
      context, prompt     what of the log a model gets to see; facts: what of what a person wanted to be remembered
      models/             providers behind one protocol; `demo` needs no key
      breaker             asks no dead provider in every turn
      tools/              what a model may call; its scope comes from the runner
      scope, wording      what of a person's memory may be told where; whether a person said something
    closing               ends conversations that were left; summaries: what of them goes into the transcript
    preview               shows the reply while it is written
    delivery              delivers it once, at the platform's pace
      text                splits long Markdown; pace: how fast we may talk
      exports             all that is kept of a person, as a file that is sent
      forgetting          all that is kept of a person, erased; retention: what is kept for so long only
    scheduler             fires what is due: it enters the inbox; triggers: when that is; quiet: whom it waits for
      reminders           what people set for themselves; phrases, when, past (words: vocabulary), times: in which words
      gone                where it can not speak any more: what is scheduled there rests
    memory/               database, inbox, outbox; transcripts (Markdown files) and the journal that writes them; days: a person's
      people, links       who is let in; who is one person; notices: what operators are to be told; schedules: what is due when
      calls, state        what tools have done, each once; what adapters keep over restarts
      erase, export       all of a person goes, or into a file; backup, swap: all that lasts into a file, and back
      files, whole        small files and large ones that no kill leaves half written; leases: who runs what
      index               search: a file per person, derived from their folder; `indexing` keeps it up to date beside the turns
      units, words        what it finds, and by what; `excerpts` puts that together for reading
      vectors, fusion     by meaning: `meaning` asks the embedding model, `filling` has it see to all that was said

    app                   puts all of it together, in visible order, in one task group
    reload, watch         a changed configuration; what other processes did to the database; dead: what could not be done
    cli, status, live     the command line; exposed: who can read our files; tight: limits that are too small
    server, logs          HTTP for webhooks and health; the logs; errors
    sentences             all that we say, in the person's language; languages/ has the words, ready to be translated
    health, metrics       how the process and its platforms are, and what is counted; telemetry: traces; server tells both
"""
