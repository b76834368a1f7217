"""Accounts: who may look, and who may change."""

from dataclasses import dataclass

from pychip_stream.config import DashboardConfig

from .guests import GUEST

MAY_LOOK = "this login may look and download; an operator does the rest"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks.

    Attributes
    ----------
    user
        Login name; empty without accounts.
    operator
        Whether this viewer may change anything. Every handler of such an action asks: that a
        button is disabled binds the browsers of honest people only.
    """

    user: str = ""
    operator: bool = True


def viewer(config: DashboardConfig, user: str | None) -> Viewer:
    """Tell what a logged-in user (None without accounts) may do; a guest looks."""
    if config.users is None:
        return Viewer()
    if user == GUEST:
        return Viewer(GUEST, operator=False)
    name = user or ""
    return Viewer(name, operator=not config.operators or name in config.operators)
