"""The methods by name: one line each."""

from likeness.engine.method import Method, resolve
from likeness.errors import UserError

METHODS: dict[str, str] = {
    "depthnet": "likeness.methods.depthnet:METHOD",
    "bilayer": "likeness.methods.bilayer:METHOD",
    "multiface": "likeness.methods.multiface:METHOD",
    "gmpi": "likeness.methods.gmpi:METHOD",
    "neural_actor": "likeness.methods.neural_actor:METHOD",
}


def method(name: str) -> Method:
    """The method called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in METHODS:
        raise UserError(f"there is no method {name!r}: choose one of {', '.join(METHODS) or 'none yet'}")
    return resolve(METHODS[name])


def methods() -> list[Method]:
    """All methods."""
    return [resolve(target) for target in METHODS.values()]
