"""What types can not say: values that only make sense together, names that must exist, shapes of ids.

The checks read the document and not the finished `Config`, so that all mistakes are told at once. They pass over
whatever is missing or of a wrong type: that is reported elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from config.cron import CronProblem, parse
from config.document import Document, Value
from config.keys import listed
from config.problems import Key, nearest, printable, shown
from config.references import NOT_LOOKED_AT
from config.schema import AdaptersConfig, DiscordConfig, EmbeddingsConfig, SlackConfig, TelegramConfig

_TELEGRAM_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]+", re.ASCII)
_TELEGRAM_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
_TELEGRAM_PORTS = (443, 80, 88, 8443)  # Bot API, setWebhook
_SLACK_ID = re.compile(r"[A-Z0-9]+-(?:[A-Z0-9]+\*?|\*)|[A-Z0-9]*\*", re.ASCII)
_DISCORD_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_SCHEDULE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
SUBSCRIBERS = "subscribers"
_KEY_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}


def check(document: Document) -> None:
    """Report whatever is wrong beyond names and types."""
    values = document.values
    _models(document, _section(values, "models"), _section(values, "agent"))
    _telegram(document, _section(_section(values, "adapters"), "telegram"))
    _slack(document, _section(values, "adapters"))
    _discord(document, _section(_section(values, "adapters"), "discord"))
    _access(document, _section(values, "access"))
    _chats(document, values.get("chats"), _section(values, "models"))
    _embeddings(document, _section(_section(values, "memory"), "embeddings"))
    _schedules(document, _section(values, "schedules"), _section(values, "adapters"))
    _zone(document, ("memory", "timezone"), _section(values, "memory").get("timezone"))
    if "prompt" in (agent := _section(values, "agent")) and "prompt_file" in agent:
        what = "the prompt is given twice, here and as `prompt`"
        document.report(("agent", "prompt_file"), what, "keep one of the two")


def _section(values: Mapping[str, Value], key: str) -> dict[str, Value]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def _models(document: Document, models: dict[str, Value], agent: dict[str, Value]) -> None:
    if not any(isinstance(model, dict) for model in models.values()):  # all of it is wrong
        return
    wanted = agent.get("model", "main")
    if isinstance(wanted, str) and wanted not in models:
        _no_such_model(document, ("agent", "model"), wanted, models)
    for model_name in models:
        _model(document, ("models", model_name), _section(models, model_name))
    following = {one: _section(models, one).get("fallback") for one in models}
    for one, fallback in following.items():
        if isinstance(fallback, str) and fallback not in models:
            _no_such_model(document, ("models", one, "fallback"), fallback, models)
    _loops(document, {one: target for one, target in following.items() if isinstance(target, str)})


def _no_such_model(document: Document, key: Key, wanted: str, models: Mapping[str, Value]) -> None:
    if ("models",) not in document.lines:
        hint = "there is no `models:`; write that, or remove this line"
    elif meant := nearest(wanted, models):
        hint = f"did you mean {shown(meant)}?"
    else:
        hint = f"write one of those under `models:`, {listed([printable(one) for one in models])}"
    if key in document.lines:
        document.report(key, f"{document.quoted(key, wanted)} is no model's name", hint)
    else:
        document.report(key, f"it is left out, and no model is named {shown(wanted)}", hint)


def _loops(document: Document, following: Mapping[str, str]) -> None:
    """Tell each circle of fallbacks once, at its first member."""
    told: set[str] = set()
    for start in following:
        path = [start]
        while (after := following.get(path[-1])) is not None and after not in path:
            path.append(after)
        if after == start and start not in told:
            told.update(path)
            circle = " → ".join(printable(one) for one in [*path, start])
            what = f"the fallbacks go in a circle: {circle}"
            document.report(("models", start, "fallback"), what, "remove one of them")


def _model(document: Document, key: Key, model: dict[str, Value]) -> None:
    provider = model.get("provider")
    if not isinstance(provider, str) or provider not in _KEY_VARIABLES:
        return
    if not model.get("model"):
        its_name = "the deployment's name" if provider == "azure" else "the provider's name of it"
        hint = f"write `model:` with {its_name}"
        document.report((*key, "model"), f"provider {provider} needs a model", hint)
    own_server = provider == "openai" and "base_url" in model
    if "api_key" not in model and not own_server:
        hint = f"write `api_key: ${{{_KEY_VARIABLES[provider]}}}`"
        document.report((*key, "api_key"), f"provider {provider} needs a key", hint)
    if provider == "azure" and "base_url" not in model:
        hint = "write `base_url: https://YOUR-RESOURCE.openai.azure.com`"
        document.report((*key, "base_url"), "provider azure needs the resource's endpoint", hint)
    if provider == "azure" and not model.get("api_version"):
        hint = "write `api_version: 2024-10-21`, or a later one"
        document.report((*key, "api_version"), "provider azure needs an API version", hint)
    _address(document, (*key, "base_url"), model.get("base_url"))


def _embeddings(document: Document, embeddings: dict[str, Value]) -> None:
    home: Key = ("memory", "embeddings")
    if embeddings.get("provider") == "local":
        for key in embeddings:
            if key != "provider" and key in EmbeddingsConfig.model_fields:
                document.report((*home, key), "provider local brings all that it needs", "remove this line")
    if embeddings.get("provider") == "openai":
        if not embeddings.get("model"):
            hint = "write `model: text-embedding-3-small`, or the name that your server has for it"
            document.report((*home, "model"), "provider openai needs an embedding model", hint)
        if "api_key" not in embeddings and "base_url" not in embeddings:
            hint = f"write `api_key: ${{{_KEY_VARIABLES['openai']}}}`"
            document.report((*home, "api_key"), "provider openai needs a key", hint)
    _address(document, (*home, "base_url"), embeddings.get("base_url"))


def _telegram(document: Document, telegram: dict[str, Value]) -> None:
    token, base_url = telegram.get("token"), telegram.get("base_url")
    default = TelegramConfig.model_fields["base_url"].default
    at_telegram = base_url is None or (isinstance(base_url, str) and base_url.rstrip("/") == default)
    # Another server may issue tokens of its own, so only Telegram's are held to Telegram's shape.
    shaped = not isinstance(token, str) or token == NOT_LOOKED_AT or _TELEGRAM_TOKEN.fullmatch(token)
    if at_telegram and not shaped:
        what = "this is no bot token: one is digits, a colon and letters, digits, _ or -"
        document.report(("adapters", "telegram", "token"), what, "copy it whole from @BotFather")
    _address(document, ("adapters", "telegram", "base_url"), base_url)
    if telegram.get("mode") != "webhook":
        return
    for key, hint in (
        ("webhook_url", "write the public address that leads to this server, `webhook_url: https://…`"),
        (
            "webhook_secret",
            "write `webhook_secret: ${TELEGRAM_WEBHOOK_SECRET}` and set that to a long random word",
        ),
    ):
        if key not in telegram:
            document.report(("adapters", "telegram", key), f"mode webhook needs {key}", hint)
    secret = telegram.get("webhook_secret")
    if isinstance(secret, str) and not _TELEGRAM_SECRET.fullmatch(secret):
        what = "Telegram takes 1 to 256 letters, digits, _ and - here"
        document.report(("adapters", "telegram", "webhook_secret"), what, "choose another secret")
    url_key: Key = ("adapters", "telegram", "webhook_url")
    url = _address(document, url_key, telegram.get("webhook_url"))
    if url is None or _is_loopback(url.hostname or ""):
        return
    if url.scheme != "https":
        document.report(url_key, "Telegram calls https addresses only", "write https://…")
    elif at_telegram and (url.port or 443) not in _TELEGRAM_PORTS:
        ports = ", ".join(map(str, _TELEGRAM_PORTS))
        document.report(url_key, f"Telegram does not call port {url.port}", f"use one of {ports}")


def _slack(document: Document, adapters: dict[str, Value]) -> None:
    if not isinstance(adapters.get("slack"), dict):
        return
    slack, home = _section(adapters, "slack"), ("adapters", "slack")
    ident, secret = "client_id" in slack, "client_secret" in slack
    if ident != secret:
        key, other = ("client_id", "client_secret") if secret else ("client_secret", "client_id")
        hint = f"write `{key}: ${{SLACK_{key.upper()}}}`, from the app's Basic Information; or remove {other}"
        document.report((*home, key), f"{other} is useless without {key}", hint)
    elif ident and "bot_token" in slack:
        what = "with client_id every workspace's token comes by OAuth, this one would not be used"
        document.report((*home, "bot_token"), what, "remove it, or client_id and client_secret")
    elif not ident and "bot_token" not in slack:
        hint = "write `bot_token: ${SLACK_BOT_TOKEN}`; or client_id and client_secret, for workspaces to install it"
        document.report((*home, "bot_token"), "slack needs a token to speak with", hint)
    if "app_token" not in slack and "signing_secret" not in slack:
        hint = "write `app_token: ${SLACK_APP_TOKEN}` for Socket Mode, or `signing_secret: ${SLACK_SIGNING_SECRET}` for HTTP"
        document.report((*home, "app_token"), "slack needs a way to receive", hint)
    base_url = slack.get("base_url")
    default = str(SlackConfig.model_fields["base_url"].default).rstrip("/")
    # Another server may issue tokens of its own, so only Slack's are held to Slack's shape.
    if base_url is None or (isinstance(base_url, str) and base_url.rstrip("/") == default):
        for key, prefix, place in (
            ("bot_token", "xoxb-", "the Bot User OAuth Token from OAuth & Permissions"),
            ("app_token", "xapp-", "an app-level token with connections:write, from Basic Information"),
        ):
            token = slack.get(key)
            if isinstance(token, str) and token != NOT_LOOKED_AT and not token.startswith(prefix):
                document.report((*home, key), f"such a token begins with {prefix}", f"copy {place}")
    _address(document, (*home, "base_url"), base_url)


def _discord(document: Document, discord: dict[str, Value]) -> None:
    token, base_url = discord.get("token"), discord.get("base_url")
    default = DiscordConfig.model_fields["base_url"].default
    at_discord = base_url is None or (isinstance(base_url, str) and base_url.rstrip("/") == default)
    shaped = not isinstance(token, str) or token == NOT_LOOKED_AT or _DISCORD_TOKEN.fullmatch(token)
    if at_discord and not shaped:
        what = "this is no bot token: one is three words of letters, digits, _ and -, joined by dots"
        hint = "copy it from the Developer Portal, page Bot (not the client secret, not the public key)"
        document.report(("adapters", "discord", "token"), what, hint)
    _address(document, ("adapters", "discord", "base_url"), base_url)
    _address(document, ("adapters", "discord", "gateway_url"), discord.get("gateway_url"), ("ws", "wss"))


def _address(
    document: Document, key: Key, value: Value, schemes: tuple[str, str] = ("http", "https")
) -> SplitResult | None:
    """The parsed address; None if there is none or it is of no such scheme, which is then reported."""
    if not isinstance(value, str):
        return None
    try:
        url = urlsplit(value)
        if url.scheme in schemes and url.hostname and url.port != 0 and not re.search(r"\s", value):
            return url
    except ValueError:  # a port that is none, a bracket left open
        pass
    document.report(
        key, "this is no web address", f"write it whole, with {schemes[1]}:// or {schemes[0]}:// and a host"
    )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _access(document: Document, access: dict[str, Value]) -> None:
    lists: list[tuple[Key, Value]] = [
        (("access", name), access.get(name)) for name in ("allow", "operators", "groups")
    ]
    platforms = _section(access, "platforms")
    for platform in platforms:
        section = _section(platforms, platform)
        lists += [
            (("access", "platforms", platform, name), section.get(name)) for name in ("allow", "groups")
        ]
    for key, entries in lists:
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, str):
                _id(document, (*key, index), entry)
    operators = access.get("operators")
    for index, entry in enumerate(operators if isinstance(operators, list) else ()):
        if isinstance(entry, str) and entry.endswith("*"):
            what = f"{document.quoted(('access', 'operators', index), entry)} would make operators of many"
            document.report(("access", "operators", index), what, "write each operator's own user id")


def _chats(document: Document, chats: Value, models: Mapping[str, Value]) -> None:
    for place, section in (chats if isinstance(chats, dict) else {}).items():
        key: Key = ("chats", place)
        _id(document, key, place)
        model = section.get("model") if isinstance(section, dict) else None
        if isinstance(model, str) and models and model not in models:
            _no_such_model(document, (*key, "model"), model, models)


def _id(document: Document, key: Key, entry: str) -> None:
    written = printable(document.written.get(key, entry))
    if complaint := _entry(entry, document.quoted(key, entry), written):
        document.report(key, *complaint)


def _entry(entry: str, quoted: str, written: str) -> tuple[str, str] | None:
    """What is wrong with the id of a person or a group, and what to write; None if nothing is."""
    platforms = list(AdaptersConfig.model_fields)
    platform, hyphen, native = entry.partition("-")
    if entry == "*":
        return "'*' alone names no platform", "write `policy: open` under `access:` to let everyone in"
    if entry.isdecimal():
        # Discord's numbers are far longer than Telegram's
        platform = "discord" if len(entry) >= 17 else "telegram"
        return f"{quoted} does not say on which platform", f"write {platform}-{written}"
    if entry.startswith("@"):
        return "a name that begins with @ can change hands", "write the numeric id, such as telegram-1001"
    if not hyphen or not native or platform not in platforms:
        meant, rest = nearest(platform, platforms), written.partition("-")[2]
        hint = f"did you mean {meant}-{rest}?" if meant and rest else "write it like telegram-1001"
        return f"{quoted} is no user id", hint
    if "*" in native[:-1]:
        return f"{quoted} has a * before its end", "put one * at the end, or none"
    if platform == "telegram" and not re.fullmatch(r"-?\d+\*?|-?\*", native, re.ASCII):
        return f"{quoted} is no user id", "Telegram's are numbers, such as telegram-1001"
    if platform == "slack" and not _SLACK_ID.fullmatch(native):
        hint = "Slack's are the workspace's and the person's, such as slack-T024BE7LD-U77"
        return f"{quoted} is no user id", hint
    return None


def _schedules(document: Document, schedules: dict[str, Value], adapters: dict[str, Value]) -> None:
    for name in schedules:
        section, key = _section(schedules, name), ("schedules", name)
        if not _SCHEDULE_NAME.fullmatch(name):
            what = "people write this name after /subscribe, and it makes a folder's name"
            document.report(key, what, "use small letters, digits, - and _, at most 32, such as morning-news")
        if isinstance(cron := section.get("cron"), str) and cron:
            try:
                parse(cron)
            except CronProblem as exc:
                quoted = document.quoted((*key, "cron"), cron)
                document.report((*key, "cron"), f"{quoted} names no time: {exc.what}", exc.instead)
        _zone(document, (*key, "timezone"), section.get("timezone"))
        _content(document, key, section)
        if isinstance(to := section.get("to"), str) and to and to != SUBSCRIBERS:
            _target(document, (*key, "to"), to, adapters)


def _content(document: Document, key: Key, section: dict[str, Value]) -> None:
    given = [name for name in ("prompt", "text") if section.get(name) is not None]
    if len(given) == 2:
        document.report((*key, "text"), "there is a prompt and a text", "keep one of the two")
    elif section and not given:
        what = "nothing is to be done or said"
        document.report(key, what, "write a `prompt:` for the agent to work on, or a `text:` to be said")
    elif given and section[given[0]] == "":
        document.report((*key, given[0]), "it is empty", "write what is to be done or said")


def _target(document: Document, key: Key, to: str, adapters: dict[str, Value]) -> None:
    written = printable(document.written.get(key, to))
    if complaint := _entry(to, document.quoted(key, to), written):
        what, instead = complaint
        document.report(key, what, f"{instead}; or `{SUBSCRIBERS}`")
    elif to.endswith("*"):
        document.report(
            key, "one person or one group is needed here", f"write its whole id, or `{SUBSCRIBERS}`"
        )
    elif (platform := to.partition("-")[0]) not in adapters:
        what = f"there is no `{platform}:` under `adapters:` to send it"
        document.report(key, what, "add it, or name a person or a group elsewhere")


def is_group(place: str) -> bool:
    """Whether an id names a group (a channel) and not a person; for one that `check` has passed."""
    platform, _, native = place.partition("-")
    match platform:
        case "telegram":
            return native.startswith("-")
        case "slack":
            return native.partition("-")[2][:1] in ("C", "G")
        case "discord":
            return "-" in native
        case _:
            return False


def _zone(document: Document, key: Key, zone: Value) -> None:
    if not isinstance(zone, str) or zone == "UTC":
        return
    # Imported here, so that UTC does not pay for it
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a directory of zones, or a name too long
        meant = nearest_zone(zone)
        hint = f"did you mean '{meant}'?" if meant else "write a name such as Europe/Berlin, or UTC"
        document.report(key, f"{document.quoted(key, zone)} is no time zone", hint)


def nearest_zone(zone: str) -> str:
    """The time zone that was probably meant by what is none, or ""."""
    from zoneinfo import available_timezones

    # Etc/GMT+2 is two hours behind and not ahead, so it is no good advice to anyone who wrote GMT+2.
    zones = [one for one in available_timezones() if "/" in one and not one.startswith("Etc/")]
    places = {one.rpartition("/")[2]: one for one in zones}
    return nearest(zone, zones) or places.get(nearest(zone, places) or "", "")
