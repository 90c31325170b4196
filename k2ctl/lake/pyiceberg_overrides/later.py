"""Modules that pyiceberg imports at once and seldom uses: they are loaded when something of theirs is asked for."""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any, Final

LATER: Final = frozenset({"pyiceberg.expressions.parser", "strictyaml"})

_lock: Final = RLock()


class _Later(ModuleType):
    """A module that is loaded once something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        with _lock:
            if "_loaded" not in self.__dict__:
                spec = self.__dict__["_found"]
                module = module_from_spec(spec)
                spec.loader.exec_module(module)
                self.__dict__["_loaded"] = module
        return getattr(self.__dict__["_loaded"], name)


class _LaterLoader(Loader):
    def __init__(self, found: ModuleSpec) -> None:
        self._found = found

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Later(spec.name)
        module.__dict__["_found"] = self._found
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""


class _LaterFinder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, path, target) if name in LATER else None
        return None if found is None else ModuleSpec(name, _LaterLoader(found))


def load_later() -> None:
    """Have them loaded so, where they are not loaded yet."""
    if not any(isinstance(finder, _LaterFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LaterFinder())
