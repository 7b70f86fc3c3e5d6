"""What an engine of any family raises."""

from __future__ import annotations


class EngineError(Exception):
    """An engine cannot do what was asked.

    EngineError
    ├── UnknownModel       no such entry in the catalog and no such folder
    ├── ModelUnavailable   the model is known, but its weights or a package it needs cannot be had here
    ├── BadRequest         the request is outside what this engine can do; trying again cannot help
    ├── EngineBusy         no room for the request now; trying later helps and costs no attempt
    │   └── ModelLoading   the model is being loaded; the message says how far it is
    └── EngineBroken       the engine itself failed; another replica or another try may succeed
    """


class UnknownModel(EngineError):
    pass


class ModelUnavailable(EngineError):
    pass


class BadRequest(EngineError):
    pass


class EngineBusy(EngineError):
    pass


class ModelLoading(EngineBusy):
    pass


class EngineBroken(EngineError):
    pass
