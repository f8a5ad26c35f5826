"""The platforms. `create` opens the door to one of them and imports no other."""

from __future__ import annotations

import gc
import importlib
from typing import Any, Literal, cast

from adapters.base import Adapter, Menu

__all__ = ["Name", "create"]

Name = Literal["console", "telegram"]


def create(name: Name, settings: Any, menu: Menu) -> Adapter:
    """The adapter called `name`, not yet connected. `settings` is its section of the configuration."""
    collecting = gc.isenabled()
    gc.disable()  # importing a platform makes 100,000 lasting objects: going through them is a tenth of its time
    try:
        module = importlib.import_module(f"adapters.{name}")
    finally:
        if collecting:
            gc.enable()
    return cast(Adapter, module.create(settings, menu))
