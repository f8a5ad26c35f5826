"""Loading a configuration: references, secrets, defaults, and what an operator meant by an empty key."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import Config, ConfigError, Loaded, Problem, load

TOKEN = "123456:AAtest-0123456789_0123456789_0123456789"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load_text(text: str | bytes, **environ: str) -> Loaded:
    path = Path("boswell.yaml")
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, environ)


def problems(text: str | bytes, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, **environ)
    return caught.value.problems


def secret(value: SecretStr | None) -> str:
    assert value is not None
    return value.get_secret_value()


# Without a file


@pytest.mark.parametrize(
    ("environ", "provider", "because"),
    [
        ({"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}, "anthropic", "ANTHROPIC_API_KEY is set"),
        ({"OPENAI_API_KEY": "o"}, "openai", "OPENAI_API_KEY is set"),
        ({"ANTHROPIC_API_KEY": "", "OPENAI_API_KEY": "o"}, "openai", "OPENAI_API_KEY is set"),
        ({}, "demo", "neither ANTHROPIC_API_KEY nor OPENAI_API_KEY is set"),
    ],
)
def test_without_a_file_the_console_talks_to_the_model_that_the_environment_offers(
    environ: Mapping[str, str], provider: str, because: str
) -> None:
    loaded = load(None, environ)
    assert loaded.path is None
    assert list(loaded.config.models) == ["main"]
    assert loaded.config.models["main"].provider == provider
    assert loaded.config.adapters.console is not None
    assert loaded.config.adapters.telegram is None
    assert because in loaded.note
    assert "boswell.yaml" in loaded.note


def test_the_offered_key_is_used_and_never_shown() -> None:
    loaded = load(None, {"OPENAI_API_KEY": "sk-secret"})
    assert secret(loaded.config.models["main"].api_key) == "sk-secret"
    assert "sk-secret" not in repr(loaded)


def test_an_unusable_offered_key_is_a_problem_that_names_the_variable() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        load(None, {"OPENAI_API_KEY": "sk-one sk-two"})
    assert "sk-one" not in str(caught.value)


def test_boswell_yaml_in_the_working_directory_is_found() -> None:
    Path("boswell.yaml").write_text("models: {main: {provider: demo}}\nadapters: {console: {}}")
    loaded = load(None, {})
    assert loaded.path == Path("boswell.yaml")
    assert loaded.note == ""


@pytest.mark.parametrize(
    "text", ["", "\n", "# nothing yet\n", "---\n", "null\n", "models:\nadapters:\nagent:\n"]
)
def test_an_empty_file_gives_the_defaults(text: str) -> None:
    loaded = load_text(text)
    assert loaded.config == load(None, {}).config
    assert "demo" in loaded.note


# Files that can not be read


def test_a_file_that_was_asked_for_must_be_there() -> None:
    with pytest.raises(ConfigError, match=r"^other\.yaml: there is no such file; .*`boswell init`"):
        load(Path("other.yaml"), {})


def test_a_directory_is_no_configuration() -> None:
    Path("boswell.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^boswell\.yaml: this is a directory"):
        load(None, {})


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to(os.devnull)], ids=["pipe", "device"]
)
@pytest.mark.parametrize("key", ["", "prompt_file", "api_key"])
def test_a_pipe_or_a_device_is_not_waited_for(make: Callable[[Path], None], key: str) -> None:
    make(Path("odd"))
    model = "models: {{main: {{provider: openai, api_key: {}}}}}"
    if key == "prompt_file":
        Path("boswell.yaml").write_text("agent: {prompt_file: odd}")
    elif key:
        Path("boswell.yaml").write_text(model.format("file:odd"))
    with pytest.raises(ConfigError, match="this is no ordinary file"):
        load(Path("boswell.yaml" if key else "odd"), {})


def test_a_huge_file_is_not_worked_through() -> None:
    Path("boswell.yaml").write_text("agent: {prompt: " + "a" * 1_000_000 + "}")
    with pytest.raises(ConfigError, match="larger than 1,000,000 bytes"):
        load(None, {})


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_told_so(encoding: str) -> None:
    [problem] = problems("agent: {name: Bösewicht}".encode(encoding))
    assert str(problem) == "boswell.yaml: the file is not UTF-8 text; save it as UTF-8"


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_an_impossible_path_is_a_problem_too(path: str) -> None:
    with pytest.raises(ConfigError):
        load(Path(path), {})


def test_windows_line_ends_and_a_byte_order_mark_are_no_matter() -> None:
    assert load_text(b"\xef\xbb\xbfagent:\r\n  name: Ann\r\n").config.agent.name == "Ann"


# Plain values


def test_a_value_is_the_text_that_stands_there_whatever_yaml_makes_of_it() -> None:
    config = load_text(
        """
        agent: {name: no, prompt: 2024-10-21}
        models:
          main: {provider: azure, model: 007, api_key: 1234, base_url: https://x.test, api_version: 2024-10-21}
        adapters: {console: {user: 1e3}}
        streams: {context_tokens: 100_000}
        """
    ).config
    assert (config.agent.name, config.agent.prompt) == ("no", "2024-10-21")
    assert config.models["main"].model == "007"
    assert config.models["main"].api_version == "2024-10-21"
    assert secret(config.models["main"].api_key) == "1234"
    assert config.adapters.console is not None
    assert config.adapters.console.user == "1e3"
    assert config.streams.context_tokens == 100_000


def test_null_leaves_a_key_out_and_empties_a_section() -> None:
    config = load_text("agent: {name: null, prompt: }\nserver:\nadapters: {console: }\ndata_dir: ~\n").config
    assert config.agent == Config().agent
    assert config.server == Config().server
    assert config.data_dir == "data"
    assert config.adapters.console is not None


def test_an_alias_stands_for_what_it_names() -> None:
    config = load_text(
        "models:\n  main: {provider: demo, price: &p {input: 1}}\n  other: {provider: demo, price: *p}\n"
    ).config
    assert config.models["other"].price.input == 1


@pytest.mark.parametrize(
    "text",
    [
        "agent: &a\n  name: *a\n",
        "a: &a [x]\n" + "".join(f"{b}: &{b} [{f'*{a}, ' * 10}]\n" for a, b in itertools.pairwise("abcdefgh")),
        "agent: &a {b: *a}\n",
        "[" * 5000,
    ],
)
def test_endless_files_end(text: str) -> None:
    assert problems(text)


# References


def test_references_are_replaced_wherever_a_value_stands() -> None:
    config = load_text(
        """
        agent: {name: "${WHO}", prompt: "You are ${WHO}, of ${TOWN:-London}."}
        server: {port: "${PORT}", host: "${HOST:-127.0.0.2}"}
        access: {policy: "${POLICY}", allow: ["telegram-${ID}"]}
        """,
        WHO="Ann",
        PORT="9000",
        HOST="",
        POLICY="open",
        ID="7",
    ).config
    assert (config.agent.name, config.agent.prompt) == ("Ann", "You are Ann, of London.")
    assert (config.server.port, config.server.host) == (9000, "127.0.0.2")
    assert (config.access.policy, config.access.allow) == ("open", ("telegram-7",))


def test_what_a_reference_gives_is_not_looked_at_again() -> None:
    assert load_text("agent: {name: '${A}'}", A="${B}").config.agent.name == "${B}"


def test_two_dollars_escape_a_reference_and_one_alone_is_a_dollar() -> None:
    assert (
        load_text("agent: {prompt: 'Say $${HOME}, $5 and $HOME'}").config.agent.prompt
        == "Say ${HOME}, $5 and $HOME"
    )


def test_a_reference_that_gives_nothing_leaves_the_key_out() -> None:
    config = load_text(
        "models: {main: {provider: demo, base_url: '${URL}', api_key: '${KEY:-}', timeout: '${T:-}'}}", URL=""
    ).config
    assert config.models["main"].base_url is None
    assert config.models["main"].api_key is None
    assert config.models["main"].timeout == 60


@pytest.mark.parametrize("environ", [{}, {"TELEGRAM_BOT_TOKEN": ""}])
def test_an_unset_secret_is_one_problem_that_names_the_variable(environ: dict[str, str]) -> None:
    [problem] = problems("adapters:\n  telegram:\n    token: ${TELEGRAM_BOT_TOKEN}\n", **environ)
    assert (problem.line, problem.key) == (3, "adapters.telegram.token")
    assert "TELEGRAM_BOT_TOKEN" in problem.what
    assert "export TELEGRAM_BOT_TOKEN=" in problem.instead


def test_a_misspelt_key_is_one_problem_even_where_the_right_one_is_required() -> None:
    [problem] = problems("adapters:\n  telegram:\n    tokne: ${TELEGRAM_BOT_TOKEN}\n")
    assert str(problem) == (
        "boswell.yaml:3: adapters.telegram.tokne: there is no such key; did you mean 'token'?"
    )


def test_a_problem_with_a_referenced_value_shows_the_reference_and_not_the_value() -> None:
    [problem] = problems("memory: {timezone: '${ZONE}'}", ZONE="hunter2")
    assert "${ZONE}" in problem.what
    assert "hunter2" not in str(problem)


def test_a_prompt_file_that_a_reference_names_is_not_shown_either() -> None:
    [problem] = problems("agent: {prompt_file: '${FILE}'}", FILE="hunter2")
    assert "${FILE}" in problem.what
    assert "hunter2" not in str(problem)


def test_a_referenced_bare_id_is_completed_by_its_reference() -> None:
    [problem] = problems("access: {allow: ['${OWNER}']}", OWNER="1001")
    assert problem.instead == "write telegram-${OWNER}"


# Models


@pytest.mark.parametrize(
    ("written", "provider", "model"),
    [
        ("{api_key: k}", "openai", "gpt-5-nano"),
        ("{api_key: k, model: o9}", "openai", "o9"),
        ("{provider: anthropic, api_key: k}", "anthropic", "claude-haiku-5-5"),
        ("{provider: anthropic, api_key: k, model: null}", "anthropic", "claude-haiku-5-5"),
        ("{provider: demo}", "demo", ""),
    ],
)
def test_a_model_without_a_name_is_the_one_that_the_environment_would_offer(
    written: str, provider: str, model: str
) -> None:
    main = load_text(f"models: {{main: {written}}}").config.models["main"]
    assert (main.provider, main.model) == (provider, model)


def test_what_a_server_of_ones_own_calls_its_model_has_to_be_written() -> None:
    [problem] = problems("models: {main: {base_url: 'http://localhost:11434/v1'}}")
    assert problem.key == "models.main.model"


# Secrets from files


def test_a_secret_is_read_from_a_file_beside_the_configuration() -> None:
    Path("conf").mkdir()
    Path("conf/token").write_text(f"{TOKEN}\r\n")
    Path("conf/b.yaml").write_text("adapters: {telegram: {token: 'file:${WHERE}'}}")
    config = load(Path("conf/b.yaml"), {"WHERE": "token"}).config
    assert config.adapters.telegram is not None
    assert secret(config.adapters.telegram.token) == TOKEN


def test_only_secrets_are_read_from_files() -> None:
    Path("name").write_text("Ann")
    assert load_text("agent: {name: 'file:name'}").config.agent.name == "file:name"


@pytest.mark.parametrize("content", ["", "\n", "one two\n", "one\ntwo\n", "schlüssel", "a\tb"])
def test_a_file_without_a_usable_secret_is_a_problem_that_does_not_quote_it(content: str) -> None:
    Path("key").write_text(content)
    [problem] = problems("models: {main: {provider: openai, model: x, api_key: file:key}}")
    assert "'file:key'" in problem.what
    assert not content.strip() or content.strip() not in str(problem)


@pytest.mark.parametrize("value", ["''", "file:missing", "file:.", "$KEY", '"file:\\0"', "'a b'"])
def test_a_broken_secret_is_one_problem(value: str) -> None:
    [problem] = problems(f"models: {{main: {{provider: openai, model: x, api_key: {value}}}}}")
    assert problem.key == "models.main.api_key"


# Paths


def test_a_prompt_file_is_read_relative_to_the_configuration() -> None:
    Path("conf").mkdir()
    Path("conf/prompt.md").write_text("\nYou are ${Ann}.\n")
    Path("conf/b.yaml").write_text("agent: {prompt_file: prompt.md}")
    assert load(Path("conf/b.yaml"), {}).config.agent.prompt == "You are ${Ann}."


def test_an_empty_prompt_file_is_a_problem() -> None:
    Path("prompt.md").write_text(" \n")
    [problem] = problems("agent: {prompt_file: prompt.md}")
    assert "empty" in problem.what


def test_memory_moves_with_data_dir_unless_it_has_a_place_of_its_own() -> None:
    assert load_text("").config.memory_path == Path("data/memory")
    moved = load_text("data_dir: /srv/boswell\nmemory: {timezone: UTC}").config
    assert moved.data_path == Path("/srv/boswell")
    assert moved.memory_path == Path("/srv/boswell/memory")
    assert Path(moved.memory.dir) == moved.memory_path
    assert load_text("data_dir: x\nmemory: {dir: y}").config.memory_path == Path("y")
    assert Config(data_dir="x").memory_path == Path("x/memory")


# Checks


@pytest.mark.parametrize(
    "model",
    [
        "provider: openai, model: x, base_url: 'http://localhost:11434/v1'",
        "provider: openai, model: x, api_key: k",
        "provider: anthropic, model: x, api_key: k, base_url: 'https://gateway.test'",
        "provider: demo",
    ],
)
def test_a_model_needs_only_what_its_provider_needs(model: str) -> None:
    load_text(f"models: {{main: {{{model}}}}}")


def test_a_loop_of_fallbacks_is_told_once_and_what_leads_into_it_is_not() -> None:
    text = "models:\n"
    for name, fallback in (("main", "a"), ("a", "b"), ("b", "a"), ("c", "c")):
        text += f"  {name}: {{provider: demo, fallback: {fallback}}}\n"
    found = problems(text)
    assert [(problem.key, problem.what.rpartition(": ")[2]) for problem in found] == [
        ("models.a.fallback", "a → b → a"),
        ("models.c.fallback", "c → c"),
    ]


def test_a_file_without_models_can_only_mean_the_offered_one() -> None:
    [problem] = problems("agent: {model: fast}")
    assert problem.key == "agent.model"
    assert "models:" in problem.instead


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://bot.example.org", True),
        ("https://bot.example.org:8443/x", True),
        ("http://127.0.0.1:9000", True),
        ("http://[::1]:9000", True),
        ("http://localhost:9000", True),
        ("http://bot.example.org", False),
        ("https://bot.example.org:8080", False),
        ("bot.example.org", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://bot.example.org:port", False),
    ],
)
def test_a_webhook_needs_an_address_that_telegram_calls(url: str, right: bool) -> None:
    text = f"""
        adapters:
          telegram: {{token: "{TOKEN}", mode: webhook, webhook_url: "{url}", webhook_secret: a_secret}}
        """
    if right:
        load_text(text)
    else:
        assert [problem.key for problem in problems(text)] == ["adapters.telegram.webhook_url"]


def test_only_telegrams_own_tokens_must_look_like_them() -> None:
    load_text("adapters: {telegram: {token: 'TEST', base_url: 'http://127.0.0.1:1'}}")
    [problem] = problems("adapters: {telegram: {token: 'TEST'}}")
    assert "TEST" not in str(problem)


@pytest.mark.parametrize("entry", ["telegram-1001", "telegram-*", "telegram-10*", "console-ada"])
def test_access_takes_user_ids_and_beginnings_of_them(entry: str) -> None:
    assert load_text(f"access: {{allow: ['{entry}']}}").config.access.allow == (entry,)


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("Europe", None),
        ("../../etc/passwd", None),
        ("", None),
    ],
)
def test_an_unknown_zone_names_the_nearest(zone: str, meant: str | None) -> None:
    [problem] = problems(f"memory: {{timezone: '{zone}'}}")
    assert meant is None or problem.instead == f"did you mean '{meant}'?"


def test_problems_come_in_the_order_of_the_file_whoever_finds_them() -> None:
    found = problems(
        "memory: {timezone: Nowhere/Land}\nserver: {port: x}\nagnt: {}\nagent: {model: '${UNSET}'}\n"
    )
    assert [problem.line for problem in found] == [1, 2, 3, 4]


# The house


def test_config_imports_nothing_above_it_and_nothing_heavy() -> None:
    program = (
        "import sys, config; from pathlib import Path; config.load(None, {});"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'bot', 'adapters', 'memory', 'asyncio', 'aiohttp', 'aiogram', 'openai', 'anthropic', 'click', 'rich',"
        " 'prompt_toolkit', 'structlog', 'sqlite3'}))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_null_takes_a_limit_away_that_is_there_by_default() -> None:
    assert load_text("limits: {turns_per_minute: null}").config.limits.turns_per_minute is None
    assert load_text("limits: {turns_per_minute: '${N:-}'}").config.limits.turns_per_minute == 20
    assert (
        load_text("limits: {turns_per_day: null, message_chars: null}").config.limits.message_chars == 50_000
    )


@pytest.mark.parametrize(
    ("price", "limits", "told"),
    [
        ("", "usd_per_day: 1", True),
        ("", "total_usd_per_day: 1", True),
        ("", "tokens_per_day: 1000", False),
        (", price: {input: 1, output: 2}", "usd_per_day: 1", False),
        (", price: {}", "usd_per_day: 1", False),
    ],
)
def test_a_limit_of_usd_on_a_model_without_a_price_is_told(price: str, limits: str, told: bool) -> None:
    model = f"models: {{main: {{provider: openai, model: x, api_key: k{price}}}}}"
    loaded = load_text(f"adapters: {{console: {{}}}}\n{model}\nlimits: {{{limits}}}")
    key = limits.partition(":")[0]
    expected = f"limits.{key} has no effect on models.main: it has no price; write `price:` there, 0 where it is free."
    assert loaded.note == (expected if told else "")


def test_all_limits_of_usd_and_all_models_without_a_price_are_told_at_once() -> None:
    models = "models: {main: {provider: openai, model: x, api_key: k}, spare: {provider: openai, model: x, api_key: k}}"
    limits = "limits: {usd_per_day: 1, total_usd_per_day: 9}"
    note = load_text(f"adapters: {{console: {{}}}}\n{models}\n{limits}").note
    assert (
        "limits.usd_per_day and limits.total_usd_per_day have no effect on models.main and models.spare: they"
        in note
    )
