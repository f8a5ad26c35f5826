"""What can go wrong in a turn, branched by what can be done about it.

A message is for the operator's log: it says what happened, to which model or tool, and what to do. It never carries a
secret, a provider's raw text or anyone's words. What the person reads instead is in `bot/sentences.py`.
"""

from __future__ import annotations

from bot.events import Usage

# BoswellError
# ├── ModelError                    a model call failed
# │   ├── ModelOverloaded           429/529: try later, or another model (retry_after in seconds, if told)
# │   ├── ModelUnavailable          no connection, 5xx, time-out, broken or truncated stream
# │   ├── ModelUnauthorized         401/403: the key is wrong; only the operator can help
# │   ├── ModelQuotaUsedUp          the account has no money left
# │   ├── ModelRefused              a content filter or the model itself refused
# │   ├── ContextTooLong            the conversation does not fit the model
# │   └── ModelRejected             400/404/422: the request or the configured model name is wrong
# ├── TurnTimedOut                  agent.turn_timeout is over
# ├── LimitReached                  one of `limits` is used up: nothing was spent beyond it
# └── bot.server.ServerNotOpened    the HTTP server's address can not be listened on


class BoswellError(Exception):
    """Base of what Boswell raises on purpose."""


class ModelError(BoswellError):
    """A model call failed. `model` is its name in the configuration; `transient` tells that a retry may pass.

    `usage` is what the provider has counted for it; None where it may have counted and nobody knows what. `asked` is False where
    no call was made, because the model failed too often before (bot/breaker.py).
    """

    transient = False
    asked = True
    usage: Usage | None = None

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(f"model {model!r}: {problem}")
        self.model = model
        self.problem = problem


class ModelOverloaded(ModelError):
    """The provider asks for patience."""

    transient = True
    usage = Usage()  # turned away before it was read

    def __init__(self, model: str, problem: str, retry_after: float | None = None) -> None:
        super().__init__(model, problem)
        self.retry_after = retry_after


class ModelUnavailable(ModelError):
    """No usable answer came: no connection, a fault on their side, a stream that broke or ended without a reason."""

    transient = True


class ModelUnauthorized(ModelError):
    """The key is not accepted."""

    usage = Usage()  # turned away before it was read


class ModelQuotaUsedUp(ModelError):
    """The provider's account has no money or quota left."""

    usage = Usage()  # turned away before it was read


class ModelRefused(ModelError):
    """A content filter, or the model, refused to answer."""


class ContextTooLong(ModelError):
    """The conversation does not fit the model's context."""


class ModelRejected(ModelError):
    """The provider calls the request wrong: mostly a wrong model name or an option it does not know."""

    usage = Usage()  # turned away before it was read


class LimitReached(BoswellError):
    """`limit` is its key under `limits:`; `until` is when it begins anew, in unix seconds.

    `used` of `most` is booked. `again` tells that the person was told of it already, for a limit that messages pour against.
    """

    def __init__(
        self, limit: str, until: float, used: float = 0, most: float = 0, *, again: bool = False
    ) -> None:
        super().__init__(f"limits.{limit} is reached until {until:.0f}")
        self.limit = limit
        self.until = until
        self.used = used
        self.most = most
        self.again = again


class TurnTimedOut(BoswellError):
    """The turn ran longer than agent.turn_timeout, of so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the turn took longer than agent.turn_timeout ({seconds:g} s)")
