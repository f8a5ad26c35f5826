"""Every sentence that Boswell itself says to people, in one place, ready to be translated.

None of them carries a provider's or a platform's text.
"""

from __future__ import annotations

from bot import errors

REFUSED = (
    "Sorry, I only talk with people my operator has let in. If you know them, give them this id: {user_id}"
)
PAIRING = (
    "Hello. I only talk with people my operator has let in. To ask for that, give them this code: {code} "
    "(good for an hour)."
)
PAIRED = "You are let in now. Just write to me; /help lists what I can do."
NO_SUCH_CODE = "There is no such code, or its hour is over. /pair lists those that wait."
PAIR_APPROVED = "{person} is let in and will be told."
PAIR_DENIED = "{person} is kept out and will not be answered any more."
PAIR_REVOKED = "{user} is a stranger again."
NOTHING_TO_REVOKE = "Nothing was decided about {user}. Those in the configuration are changed there."
PAIR_USAGE = "/pair lists who waits; /pair approve CODE, /pair deny CODE, /pair revoke USER."
NOBODY_WAITS = "Nobody waits to be let in."
OPERATORS_ONLY = "That is for operators only."
STOP_BUTTON = "Stop"
STOPPED_MARK = "(stopped)"
STOPPED = "Stopped."
NOTHING_TO_STOP = "There is nothing to stop."
CLEARED = "Cleared. The next message starts a new conversation; what we said stays in your history."
NOTHING_TO_CLEAR = "There is no open conversation. The next message starts one."
DROPPED_ONE = "One waiting message will not be answered."
DROPPED = "{count} waiting messages will not be answered."
PRIVATE_ONLY = "I tell that only in private. Write to me there."
UNKNOWN_COMMAND = "I do not know /{command}. /help lists what I know."
UNSUPPORTED = "I can only read text so far, so I could not take in {content}."
TOO_LONG = "That message is too long for me ({have} characters). Please send at most about {most}, or several shorter ones."
UNSENDABLE = "I had an answer, but it could not be shown here. Please ask me to put it in another form."
GIVEN_UP = "I tried this several times and something went wrong each time. Please ask in another way. (ref {reference})"
EMPTY = "I have no answer to that. Please try asking in another way."
CUT = "(cut off: this reply reached its length limit)"
BROKEN_OFF = "(the answer broke off here)"
NO_ROUNDS = "I looked things up several times and did not get to an answer. Please ask again, perhaps for less at once."
EMPTY_MESSAGE = "That message was empty. What can I do for you?"

_FAILURES: list[tuple[type[BaseException], str]] = [
    (errors.ModelOverloaded, "The model that I use is overloaded right now. Please try again in a minute."),
    (
        errors.ModelQuotaUsedUp,
        "The account that pays for my answers is used up. My operator has to look into it.",
    ),
    (
        errors.ModelUnauthorized,
        "I am not set up correctly: the model does not accept my key. My operator has to look into it.",
    ),
    (errors.ModelRefused, "I can not answer that: the model declined. You could put it in other words."),
    (
        errors.ContextTooLong,
        "This conversation has become too long for the model. /clear starts a new one; your history stays.",
    ),
    (
        errors.ModelRejected,
        "I am not set up correctly: the model did not take the request. My operator has to look into it.",
    ),
    (errors.ModelError, "I could not reach the model. Please try again in a moment."),
    (errors.TurnTimedOut, "That took too long, so I gave up. Please try again, perhaps with less at once."),
    (BaseException, "Something went wrong on my side, and it has been noted. Please try again."),
]


def failure(exc: BaseException, reference: str) -> str:
    """One human sentence for what went wrong, with the reference that the operator finds in the log."""
    sentence = next(text for kind, text in _FAILURES if isinstance(exc, kind))
    return f"{sentence} (ref {reference})"


def kind(exc: BaseException) -> str:
    """A short stable word for logs and records: the exception's class."""
    return type(exc).__name__
