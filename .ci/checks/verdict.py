"""How a check says what it found."""


class Failed(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Failed(message)


def require_close(what, found, expected, relative):
    """Both finite, and apart by no more than the share `relative` of what was expected."""
    if not abs(found - expected) <= relative * abs(expected):
        raise Failed(f"{what}: {found}, expected {expected} within {100 * relative:g} %")
