"""Group commit: the writes of many commands in one transaction."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from connector.errors import ConnectorError, Superseded, Unavailable
from connector.events import Record
from connector.kafka.transactions import Transactions

# A transaction that begins while the markers of the one before are being written costs the client's 20 ms back-off;
# this pause avoids it and gathers more records.
GATHER_SECONDS = 0.003
MAX_RECORDS = 1_000


class _Write(NamedTuple):
    records: Sequence[Record]
    done: "asyncio.Future[list[int]]"


class Writer:
    """The one stream of transactions of an owner."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._queue: asyncio.Queue[_Write] = asyncio.Queue()

    async def write(self, records: Sequence[Record]) -> list[int]:
        """Return the offsets of these records when they are durable, all or none.

        Raises Superseded when another owner has taken over, Unavailable when nobody knows.
        """
        done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Write(records, done))
        return await done

    async def run(self) -> None:
        """Write until cancelled. Raises what ended it, after telling every writer."""
        batch: list[_Write] = []
        try:
            while True:
                batch = [await self._queue.get()]
                await asyncio.sleep(GATHER_SECONDS)
                count = len(batch[0].records)
                while not self._queue.empty() and count < MAX_RECORDS:
                    batch.append(self._queue.get_nowait())
                    count += len(batch[-1].records)
                written = await self._transactions.write([record for write in batch for record in write.records])
                self._answer(batch, [metadata.offset for metadata in written])
                batch = []
                self._check_usable()
        except BaseException as error:
            self._fail(batch, error)
            raise

    def _check_usable(self) -> None:
        if not self._transactions.usable:
            raise Unavailable("A commit was slow; the producer is replaced.")

    def _answer(self, batch: Sequence[_Write], offsets: Sequence[int]) -> None:
        position = 0
        for write in batch:
            end = position + len(write.records)
            if not write.done.done():
                write.done.set_result(list(offsets[position:end]))
            position = end

    def _fail(self, batch: list[_Write], error: BaseException) -> None:
        while not self._queue.empty():
            batch.append(self._queue.get_nowait())
        reason = error if isinstance(error, ConnectorError) else Superseded("This owner has ended.")
        for write in batch:
            if not write.done.done():
                write.done.set_exception(reason)
                write.done.exception()
