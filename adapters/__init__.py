"""The platforms. `create` opens the door to one of them and imports no other."""

from __future__ import annotations

import gc
import importlib
from typing import Any, Literal, cast

from adapters.base import Adapter, AdapterError, Menu, State

__all__ = ["Name", "NotInstalled", "create"]

Name = Literal["console", "telegram", "slack", "discord"]


class NotInstalled(AdapterError):
    """The platform's packages are not installed. The message says how they get there."""


def create(name: Name, settings: Any, menu: Menu, state: State) -> Adapter:
    """The adapter called `name`, not yet connected. `settings` is its section of the configuration, `state` its own store.

    Raises `NotInstalled` where the extra of that name was left out.
    """
    collecting = gc.isenabled()
    gc.disable()  # importing a platform makes 100,000 lasting objects: going through them is a tenth of its time
    try:
        module = importlib.import_module(f"adapters.{name}")
    except ModuleNotFoundError as exc:
        raise NotInstalled(
            f"adapters.{name} needs the package {exc.name!r}, which is not installed; "
            f"install it with: pip install 'boswell[{name}]'"
        ) from exc
    finally:
        if collecting:
            gc.enable()
    return cast(Adapter, module.create(settings, menu, state))
