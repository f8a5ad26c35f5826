"""From `boswell.yaml` and the environment to a checked `Config`, or to every mistake in it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from config.checks import check
from config.document import Document, Value, parse
from config.explain import explain
from config.keys import listed
from config.problems import ConfigError, Key, Problem
from config.references import Unreadable, read_text, resolve
from config.schema import Config

DEFAULT_PATH = Path("boswell.yaml")
"""Where the configuration is looked for, in the working directory, when no path is given."""

_OFFERS = (  # variable, provider, model: the first whose variable is set is taken
    ("ANTHROPIC_API_KEY", "anthropic", "claude-haiku-5-5"),
    ("OPENAI_API_KEY", "openai", "gpt-5-nano"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where it came from (None: there is no file) and what was chosen in its place.

    `note` tells the operator at the start of what the file does not say: whole sentences, or "".
    """

    config: Config
    path: Path | None
    note: str


def load(path: Path | None, environ: Mapping[str, str], *, secrets: bool = True) -> Loaded:
    """The configuration at `path`, else of `boswell.yaml` in the working directory, else one without a file.

    Where no adapters are named there is the console alone; where no models are, the one that the environment
    offers. A prompt_file's text stands in `agent.prompt`. `secrets` False is for who only looks at what is stored: none is
    then needed or read. Raises ConfigError with all mistakes, nothing else.
    """
    document, found = _read(path)
    folder = found.parent if found else Path()
    resolve(document, environ, folder, secrets=secrets)
    notes = [] if found else [f"There is no {DEFAULT_PATH} here."]
    if document.values.setdefault("adapters", {}) == {}:
        document.values["adapters"] = {"console": {}}
        notes.append("The console is started alone, because no adapters are named.")
    if document.values.setdefault("models", {}) == {}:
        notes.append(_take_offered_model(document, environ))
    _name_models(document)
    check(document)
    _read_prompt(document, folder)
    try:
        config = Config.model_validate(document.values)
    except ValidationError as exc:
        explain(exc, document)
        raise ConfigError(document.problems) from None  # pydantic's own holds the values, secrets included
    if document.problems:
        raise ConfigError(document.problems)
    if unpriced := _unpriced(config):
        notes.append(unpriced)
    return Loaded(config, found, " ".join(notes))


def _unpriced(config: Config) -> str:
    """What of limits in USD does not work, because models without a price cost nothing in the books; or ""."""
    limits = [name for name, value in config.limits if name.endswith("usd_per_day") and value is not None]
    models = [
        name
        for name, model in config.models.items()
        if model.provider != "demo" and "price" not in model.model_fields_set
    ]
    if not limits or not models:
        return ""
    have, they_have = "has" if len(limits) == 1 else "have", "it has" if len(models) == 1 else "they have"
    return (
        f"{listed([f'limits.{name}' for name in limits], 'and')} {have} no effect on "
        f"{listed([f'models.{name}' for name in models], 'and')}: {they_have} no price; write `price:` there, 0 where it is free."
    )


def _read(path: Path | None) -> tuple[Document, Path | None]:
    chosen = path or DEFAULT_PATH
    try:
        return parse(read_text(chosen), str(chosen)), chosen
    except Unreadable as exc:
        if exc.missing and path is None:
            return Document(str(chosen)), None
        instead = "check the path, or let `boswell init` write one" if exc.missing else exc.instead
        raise ConfigError([Problem(str(chosen), None, "", exc.what, instead)]) from None


def _take_offered_model(document: Document, environ: Mapping[str, str]) -> str:
    """Make the model that the environment offers the only one; returns the sentence that says which and why."""
    for variable, provider, model in _OFFERS:
        if environ.get(variable):
            main: Value = {"provider": provider, "model": model, "api_key": f"${{{variable}}}"}
            note = f"The model is {provider}'s {model}, because {variable} is set."
            break
    else:
        main = {"provider": "demo"}
        unset = " nor ".join(variable for variable, _, _ in _OFFERS)
        note = f"The model is the built-in demo, because neither {unset} is set."
    offered = Document(document.file, {"models": {"main": main}}, problems=document.problems)
    resolve(offered, environ, Path())
    document.values.update(offered.values)
    return note


def _name_models(document: Document) -> None:
    """Take the provider, and its model, where they are left out; what a server of one's own has only its operator knows."""
    models, offered = document.values.get("models"), {provider: model for _, provider, model in _OFFERS}
    for model in models.values() if isinstance(models, dict) else ():
        if isinstance(model, dict):
            provider = model.setdefault("provider", "openai")
            if isinstance(provider, str) and provider in offered and "base_url" not in model:
                model.setdefault("model", offered[provider])


def _read_prompt(document: Document, folder: Path) -> None:
    key: Key = ("agent", "prompt_file")
    agent = document.values.get("agent")
    if not isinstance(agent, dict) or not isinstance(file := agent.get("prompt_file"), str):
        return
    try:
        prompt = read_text(folder / file).strip()
    except Unreadable as exc:
        document.report(key, f"{document.quoted(key, file)}: {exc.what}", exc.instead)
        return
    if not prompt:
        document.report(key, f"{document.quoted(key, file)}: the file is empty", "write the prompt into it")
    agent.update(prompt=prompt, prompt_file=str(folder / file))
