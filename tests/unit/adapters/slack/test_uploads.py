"""Files on Slack: three calls, and never where somebody else could see them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.base import ChatGone, NoState, Refused, Unavailable
from tests.fakes import slack as fake
from tests.unit.adapters.slack.slack_house import chat, connected, first_update


@pytest.fixture
async def server() -> AsyncIterator[fake.SlackServer]:
    async with fake.SlackServer() as server:
        server.channel("C1", server.first.person("U1", "Anna"))
        server.channel("D1", "U1")
        yield server


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kept.zip"
    path.write_bytes(b"PK whatever")
    return path


def sent(server: fake.SlackServer, channel: str) -> list[tuple[str, bytes | None, str]]:
    return [(f.name, f.data, m.shown) for m in server.channel(channel).ours() for f in m.files]


async def test_the_file_of_a_command_in_a_channel_goes_to_its_asker_directly(
    server: fake.SlackServer, file: Path
) -> None:
    async with connected(server) as (adapter, life):
        server.first.command("C1", "U1", "help")
        update = await first_update(life)
        await adapter.send_file(update.chat, file, "Here & <now>.", key="1", via=update.via)
    assert sent(server, "D1") == [("kept.zip", b"PK whatever", "Here & <now>.")]
    assert server.texts("C1") == []


async def test_a_file_in_a_thread_stays_there(server: fake.SlackServer, file: Path) -> None:
    async with connected(server) as (adapter, _):
        root = server.first.write("D1", "U1", "export, please").ts
        await adapter.send_file(chat("D1", root), file, "Here.", key="1")
        [message] = server.channel("D1").ours(root)
        assert [f.name for f in message.files] == ["kept.zip"]


async def test_without_the_scope_a_file_is_refused_and_nothing_waits_for_it(
    server: fake.SlackServer, file: Path
) -> None:
    server.first.scopes.discard("files:write")
    async with connected(server) as (adapter, _):
        with pytest.raises(Refused, match="files:write"):
            await adapter.send_file(chat("D1"), file, "Here.", key="1")


async def test_who_can_not_be_written_to_directly_gets_no_file_elsewhere(
    server: fake.SlackServer, file: Path
) -> None:
    server.first.scopes.discard("im:write")
    async with connected(server) as (adapter, life):
        server.first.command("C1", "U1", "help")
        update = await first_update(life)
        with pytest.raises(ChatGone):
            await adapter.send_file(update.chat, file, "Here.", key="1", via=update.via)
    assert sent(server, "C1") == []


@pytest.mark.parametrize("fault", [fake.lost_answer(), fake.bad_gateway()])
async def test_bytes_that_did_not_arrive_are_no_message(
    server: fake.SlackServer, file: Path, fault: fake.Fault
) -> None:
    async with connected(server) as (adapter, _):
        server.fault("upload", fault)
        with pytest.raises(Unavailable) as caught:
            await adapter.send_file(chat("D1"), file, "Here.", key="1")
        assert not caught.value.ambiguous
        await adapter.send_file(chat("D1"), file, "Here.", key="1")
    assert len(sent(server, "D1")) == 1


async def test_a_later_process_finds_the_file_that_an_earlier_one_sent(
    server: fake.SlackServer, file: Path
) -> None:
    state = NoState()
    async with connected(server, state) as (adapter, _):
        server.fault("files.completeUploadExternal", fake.lost_answer())
        with pytest.raises(Unavailable):
            await adapter.send_file(chat("D1"), file, "Here.", key="1")
    async with connected(server, state) as (adapter, _):
        assert await adapter.find(chat("D1"), "1")
        server.first.scopes.discard("im:history")  # it may not look: then nobody knows
        assert await adapter.find(chat("D1"), "1") is None


async def test_what_was_never_found_is_forgotten_some_day(server: fake.SlackServer) -> None:
    state = NoState()
    await state.set({"file:1": "D1::F1:1000", "file:2": "D1::F2:99999999999"})
    async with connected(server, state):
        assert set(await state.get("file:")) == {"file:2"}
