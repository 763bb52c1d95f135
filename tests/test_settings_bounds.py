"""A configuration that multiplies, nests or has no end is one sentence with its line, at once."""

from pathlib import Path

import pytest

from connector.errors import ConfigurationError
from connector.settings import load

PAIRS = tuple(zip("abcdefghi", "bcdefghij", strict=True))
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in PAIRS
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{name}: &{name}\n  <<: [{', '.join([f'*{before}'] * 9)}]\n  k{name}: 1\n" for before, name in PAIRS
)


def problems(text: str, folder: Path) -> list[str]:
    file = folder / "connector.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigurationError) as refused:
        load(file, environ={})
    return [sentence.replace(str(file), "FILE") for sentence in refused.value.problems]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (LAUGHS, "FILE:", "holds more than 50,000 values once its aliases (*) are written out"),
        (MERGES, "FILE:", "holds more than 50,000 values once its aliases (*) are written out"),
        ("kafka: {}\nwatches: " + "[" * 100_000, "FILE:2: ", "nests too deep"),
        ("kafka: {}\nwatches: " + "{a: " * 100_000, "FILE:2: ", "nests too deep"),
        ("- " * 100_000, "FILE:1: ", "nests too deep"),
        ("? " * 100_000, "FILE:1: ", "nests too deep"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(400)), "FILE:21: ", "nests too deep"),
        ("kafka:\n  a: &a\n    b: *a\n", "FILE:", "nests too deep, perhaps in itself"),
        ("kafka: &a [*a, *a]\n", "FILE:", "holds more than 50,000 values"),
        ("kafka: &a\n  <<: *a\n", "FILE:", "nests too deep, perhaps in itself"),
        ("# " + "x" * 1_100_000, "FILE:1: ", "has more than 1,048,576 characters"),
        ("kafka: *unknown\n", "FILE:1: ", "not YAML"),
        ("kafka: {}\n---\nkafka: {}\n", "FILE:2: ", "not YAML"),
        ("kafka: {}\nkafka: {}\n", "FILE:2: kafka: ", "is given twice, first in line 1"),
        ("kafka: {a: 1,\n a: 2}\n", "FILE:2: kafka.a: ", "is given twice"),
        ("kafka: {<<: 5}\n", "FILE:1: kafka: ", "<< takes over mappings"),
        ('log: {level: "\ue000' + "9" * 5_000 + '\ue001"}\n', "FILE:1: log.level: ", "is not known here"),
        ("kafka: \x00\n", "FILE:1: ", "not YAML"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_it_is_one_sentence_with_its_line(text: str, place: str, words: str, tmp_path: Path) -> None:
    found = [sentence for sentence in problems(text, tmp_path) if words in sentence]
    assert found
    assert found[0].startswith(place)


def test_of_very_many_problems_the_first_hundred_are_told(tmp_path: Path) -> None:
    found = problems("".join(f"unknown{number}: 1\n" for number in range(5_000)), tmp_path)
    assert len(found) == 101
    assert found[-1] == "and 4,901 more"


@pytest.mark.parametrize("value", ["[" * 100_000, "[" * 300 + "]" * 300, "x" * 1_100_000], ids=["open", "deep", "long"])
def test_a_variable_has_the_same_bounds(value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"CONNECTOR_WATCHES: watches: (nests too deep|has more than)"):
        load(environ={"CONNECTOR_WATCHES": value, "CONNECTOR_CONFIG": "/dev/null"})


def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has more than 1,048,576 characters"):
        load(Path("/dev/zero"), environ={})
    with pytest.raises(ConfigurationError, match="/dev/zero has more than 1,048,576 characters"):
        load(environ={"CONNECTOR_ADMIN__TOKEN_FILE": "/dev/zero", "CONNECTOR_CONFIG": "/dev/null"})
