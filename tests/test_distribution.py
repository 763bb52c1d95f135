"""`make dist`: what is released is whole, and runs where the checkout is not."""

from pathlib import Path

import pytest

from connector import __version__
from tests import distribution


@pytest.mark.timeout(300)
def test_the_wheel_runs_outside_of_the_checkout_and_the_source_is_whole(tmp_path: Path) -> None:
    wheel, source = distribution.build(tmp_path)
    assert wheel.name == f"twilio_kafka_connector-{__version__}-py3-none-any.whl"
    assert set(distribution.NEEDED_OF_SOURCE) <= distribution.contents(source)
    packed = distribution.contents(wheel)
    assert {"connector/py.typed", "connector/console/static/index.html"} <= packed
    assert not [name for name in packed if name.startswith(("tests/", "bench/", "helm/"))]
    elsewhere = tmp_path / "environment"
    assert __version__ in distribution.check(distribution.install(wheel, elsewhere, lent=True), elsewhere)
