"""Adding a resource is adding a row: a made-up one is watched and commanded without touching an engine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, cast

import pytest
from aiohttp import web
from pydantic import Field, SecretStr

from connector.events import Record
from connector.executor.context import Executor, ExecutorContext
from connector.executor.media import topic_store
from connector.kafka import produce, topics
from connector.kafka.ownership import Membership
from connector.resources import WATCHES, commands
from connector.resources.commands import Command, Operation
from connector.resources.fields import Text, Timestamp
from connector.resources.hosts import HOSTS
from connector.resources.models import Bundle, Parameters
from connector.resources.rows import ACCOUNT, Watch
from connector.settings import KafkaSettings, WatchSettings
from connector.settings.watches import FILTERS
from connector.simulator import ACCOUNT_SID
from connector.twilio.client import TwilioClient
from connector.twilio.connecting import open_session
from connector.watcher.cursor import Commit
from connector.watcher.owner import WatchOwners
from connector.watcher.reading import TwilioSource
from connector.watcher.records import Publication
from connector.watcher.watcher import Watcher
from tests.running import read_all, until, values, wait_for_records


class Parcel(Bundle):
    """A made-up resource."""

    sid: str
    date_created: Timestamp = None
    status: Text = None


class ShipParcel(Parameters):
    """A made-up command."""

    to: Annotated[str, Field(min_length=2)]


PATH = f"{ACCOUNT}/Parcels.json"
PARCELS = Watch(resource="parcels", noun="parcel", path=PATH, items="parcels", bundle=Parcel, operation="ListParcel")
SHIP = Operation(name="CreateParcel", parameters=ShipParcel, method="POST", path=PATH, bundle=Parcel)


@pytest.fixture
async def client() -> AsyncIterator[TwilioClient]:
    """A client of a server that knows parcels."""
    rows: list[dict[str, Any]] = []

    async def listed(_request: web.Request) -> web.Response:
        return web.json_response({"parcels": rows[::-1], "next_page_uri": None})

    async def ship(request: web.Request) -> web.Response:
        form = await request.post()
        row = {"sid": f"PA{len(rows):032x}", "date_created": "Tue, 24 Nov 2099 12:00:00 +0000", "to": form["To"]}
        rows.append(row)
        return web.json_response(row, status=201)

    app = web.Application()
    path = PATH.replace("{AccountSid}", ACCOUNT_SID)
    app.add_routes([web.get(path, listed), web.post(path, ship)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with open_session() as session:
        auth = (ACCOUNT_SID, SecretStr("token"))
        yield TwilioClient(
            name="default", account_sid=ACCOUNT_SID, auth=auth, bases=dict.fromkeys(HOSTS, url), session=session
        )
    await runner.cleanup()


async def test_a_made_up_resource_is_commanded_and_watched(
    kafka: str, prefix: str, client: TwilioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a module in connector/resources would.
    monkeypatch.setitem(cast("dict[str, Watch]", WATCHES), "parcels", PARCELS)
    monkeypatch.setitem(FILTERS, "parcels", ())
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=prefix, partitions=2, replication_factor=1)
    await topics.apply(settings, topics.wanted(settings, events=["parcels"], commands=["ship-parcel"]))
    catalog = {"ship-parcel": Command("ship-parcel", {None: SHIP})}
    stop = asyncio.Event()

    def build(name: str, commit: Commit) -> Watcher:
        publication = Publication(name=name, watch=PARCELS, account_sid=ACCOUNT_SID, prefix=prefix)
        watch = WatchSettings(resource="parcels", name=name)
        return Watcher(watch, publication, TwilioSource(client, PARCELS), commit)

    process = ExecutorContext(
        kafka=settings,
        group=f"{prefix}-command",
        commands=catalog,
        clients={"default": client},
        callback_url=None,
        store=topic_store(f"{prefix}.recording-media"),
        max_in_flight=8,
        settle_time=WatchSettings(resource="messages").interval,
        resend=False,
        reply_topics=(),
    )
    names = {f"{prefix}.commands.ship-parcel": "ship-parcel"}
    executor = Executor(process, max_in_flight=8, dedupe_window=process.settle_time)
    owners = WatchOwners(settings, watches=["parcels"], build=build)
    memberships = [
        Membership(settings, role="watch", group=f"{prefix}-watch", topics=[f"{prefix}.cursors"], serve=owners.serve),
        Membership(settings, role="commands", group=f"{prefix}-command", topics=list(names), serve=executor.serve),
    ]
    async with asyncio.TaskGroup() as tasks:
        for membership in memberships:
            tasks.create_task(membership.run(stop))
        # A first start is from then on: what exists before is not new.
        await until(lambda: "parcels" in owners.running and owners.running["parcels"].cursor is not None)
        await produce.send(settings, Record(f"{prefix}.commands.ship-parcel", b"k", b'{"to": "Ada"}'))
        (result,) = values(await wait_for_records(kafka, f"{prefix}.results.ship-parcel", 1))
        (parcel,) = await wait_for_records(kafka, f"{prefix}.parcels", 1)
        stop.set()
    assert result["outcome"] == "succeeded"
    assert parcel.key.decode() == result["bundles"][0]["sid"]
    assert await read_all(kafka, f"{prefix}.dead-letters") == []


def test_a_module_with_rows_is_all_that_the_catalog_needs() -> None:
    class Module:
        OPERATIONS = {"ship-parcel": {None: SHIP}}  # noqa: RUF012 - as a module has it

    assert commands([Module])["ship-parcel"].operations == {None: SHIP}  # type: ignore[list-item]  # stands in


def test_no_engine_names_a_resource() -> None:
    engines = [path for name in ("watcher", "receiver", "executor") for path in Path("connector", name).glob("*.py")]
    words = ("messages", "calls", "recordings", "transcriptions", "alerts", "SendMessage", "CreateMessage")
    quoted = [f"{mark}{word}{mark}" for word in words for mark in "'\""]
    named = [(path.name, word) for path in engines for word in quoted if word in path.read_text()]
    assert named == []
