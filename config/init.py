"""The file that `boswell init` writes: what the operator asked for, in a few commented lines, secrets by reference."""

from __future__ import annotations

from collections.abc import Sequence

_HEAD = """\
# Boswell's configuration. `boswell check` tells every mistake in it; `boswell run` starts it.
# What is left out has a default; config/example.yaml shows every key.
# ${NAME} is taken from the environment, so that no secret stands here; file:PATH reads one from a file.

agent:
  name: Boswell
  prompt: You are Boswell, a concise assistant.
"""

_MODELS = {
    "openai": """\
    provider: openai
    model: gpt-5-nano
    api_key: ${OPENAI_API_KEY}
    # base_url: http://localhost:11434/v1   # another server that speaks the same API; it may need no api_key
""",
    "azure": """\
    provider: azure
    model: ${AZURE_OPENAI_DEPLOYMENT}       # the deployment's name
    api_key: ${AZURE_OPENAI_API_KEY}
    base_url: ${AZURE_OPENAI_ENDPOINT}      # https://YOUR-RESOURCE.openai.azure.com
    api_version: 2024-10-21
""",
    "anthropic": """\
    provider: anthropic
    model: claude-haiku-5-5
    api_key: ${ANTHROPIC_API_KEY}
""",
    "demo": """\
    provider: demo                          # built in, needs no key: it follows rules and knows little
""",
}

_ADAPTERS = {
    "console": """\
  console: {}                               # this terminal
""",
    "telegram": """\
  telegram:
    token: ${TELEGRAM_BOT_TOKEN}            # from @BotFather
""",
    "slack": """\
  slack:
    bot_token: ${SLACK_BOT_TOKEN}           # xoxb-…, from OAuth & Permissions
    app_token: ${SLACK_APP_TOKEN}           # xapp-…, from Basic Information, with connections:write
""",
    "discord": """\
  discord:
    token: ${DISCORD_BOT_TOKEN}             # from the Developer Portal, page Bot
""",
}

_ACCESS = """\
access:
  policy: pairing                           # pairing: strangers get a code to be approved; closed; open
  operators: []                             # who may approve in a chat, such as [telegram-1001]

# limits:                                   # what it may cost, by the models' prices
#   usd_per_day: 0.50                       # per person
#   total_usd_per_day: 10
"""

_MEMORY = """\
memory:
  timezone: UTC                             # of the transcripts' dates, such as Europe/Berlin
"""

INIT_ADAPTERS = tuple(_ADAPTERS)
INIT_PROVIDERS = tuple(_MODELS)


def render_init(adapters: Sequence[str], provider: str) -> str:
    """A commented `boswell.yaml` for some of INIT_ADAPTERS and one of INIT_PROVIDERS.

    It loads as it is once the variables that it names are set. A name that is not among those is a KeyError.
    """
    blocks = [
        _HEAD,
        f"models:\n  main:\n{_MODELS[provider]}",
        "adapters:\n" + "".join(_ADAPTERS[name] for name in dict.fromkeys(adapters)),
    ]
    if set(adapters) - {"console"}:  # whoever sits at the console is always let in
        blocks.append(_ACCESS)
    return "\n".join([*blocks, _MEMORY])
