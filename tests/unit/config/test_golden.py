"""What an operator reads about a broken file, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import ConfigError, load

GOLDEN = Path(__file__).parents[2] / "golden" / "config"
ENVIRON = {
    "OPENAI_API_KEY": "sk-test-1f2e3d4c5b6a7980",
    "TELEGRAM_BOT_TOKEN": "123456:AAtest-0123456789_0123456789_0123456789",
    "SET_BUT_EMPTY": "",
}


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.yaml")))
def test_a_broken_file_is_told_in_words_to_act_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(ConfigError) as caught:
        load(Path(f"{name}.yaml"), ENVIRON)
    assert f"{caught.value}\n" == Path(f"{name}.txt").read_text(encoding="utf-8")


def test_no_message_holds_a_secret() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.txt"))
    for secret in (*filter(None, ENVIRON.values()), "4fVbT9mQ2xLr8nWc6yKd", "hunter2"):
        assert secret not in told


def test_every_broken_file_has_its_message_and_every_message_its_file() -> None:
    names = {suffix: {path.stem for path in GOLDEN.glob(f"*{suffix}")} for suffix in (".yaml", ".txt")}
    assert names[".yaml"] == names[".txt"]
    assert len(names[".yaml"]) >= 10
