"""The console's routes as its modules write them, without a process."""

import re
from pathlib import Path

from aiohttp import web

from connector import console
from connector.console.dead_letters import PLACE


def admin_routes() -> list[web.RouteDef]:
    """Every route under `/api/`."""
    found: list[web.RouteDef] = []
    for module in Path(console.__path__[0]).glob("*.py"):
        text = module.read_text().replace("{PLACE}", PLACE).replace("(PLACE,", f'("{PLACE}",')
        for method, path in re.findall(r'web\.(get|post)\(f?"(/api/[^"]+)"', text):
            found.append(web.RouteDef(method.upper(), path, _never, {}))
    return found


async def _never(_request: web.Request) -> web.StreamResponse:
    raise NotImplementedError
