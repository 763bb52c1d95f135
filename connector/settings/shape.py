"""The shape of the configuration, read off the models: which keys there are, what each holds, what is secret."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import PlainSerializer, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from connector.settings.model import Settings
from connector.settings.section import Path, Section

Kind = Literal["section", "mapping", "sequence", "value"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What may stand at a key.

    A section has `children` by key, a mapping and a sequence have one `item` for whatever they hold. `attribute` is the
    name in the model, `type` what a value becomes, `choices` are all texts that it may have.
    """

    kind: Kind
    children: Mapping[str, "Shape"] = field(default_factory=dict)
    item: "Shape | None" = None
    type: Any = None
    choices: tuple[str, ...] = ()
    attribute: str = ""
    info: FieldInfo | None = None

    def child(self, segment: str | int) -> "Shape | None":
        """What may stand one key below, None where nothing may."""
        return self.children.get(str(segment)) if self.kind == "section" else self.item

    @property
    def holds_secrets(self) -> bool:
        """Whether the value, or an item, is never shown."""
        kind = self.item.type if self.item is not None else self.type
        return kind is SecretStr

    @property
    def is_leaf(self) -> bool:
        """Whether it is set as a whole: a value or a list of values."""
        return self.kind == "value" or (self.kind == "sequence" and self.item is not None and self.item.kind == "value")

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The least and the greatest value, None where there is no such bound."""
        metadata = self.info.metadata if self.info else []
        least = next((item.ge for item in metadata if isinstance(item, Ge)), None)
        return least, next((item.le for item in metadata if isinstance(item, Le)), None)

    @property
    def default(self) -> Any:
        """The default, None where there is none or it depends on other keys."""
        value = self.info.default if self.info else None
        return None if value is PydanticUndefined else value

    def written(self, value: Any) -> str:
        """The value as the file would hold it."""
        metadata = self.info.metadata if self.info else []
        write: Any = next((item.func for item in metadata if isinstance(item, PlainSerializer)), str)
        return str(write(value))


@lru_cache(maxsize=1)
def root() -> Shape:
    """The shape of the whole configuration."""
    return _shape(Settings)


def shape_at(path: Path) -> Shape | None:
    """What may stand at a path, None where nothing may."""
    shape: Shape | None = root()
    for segment in path:
        shape = shape.child(segment) if shape else None
    return shape


def leaves(shape: Shape | None = None, path: Path = ()) -> Iterator[tuple[Path, Shape]]:
    """Every key that holds values, with `default` for the name of a connection or an item and 0 for a position."""
    shape = shape or root()
    if shape.is_leaf:
        yield path, shape
    elif shape.item is not None:
        yield from leaves(shape.item, (*path, 0 if shape.kind == "sequence" else "default"))
    for key, child in shape.children.items():
        yield from leaves(child, (*path, key))


def _shape(annotation: Any, info: FieldInfo | None = None, attribute: str = "") -> Shape:
    kind = _bare(annotation)
    info = info or next((item for item in get_args(annotation) if isinstance(item, FieldInfo)), None)
    if isinstance(kind, type) and issubclass(kind, Section):
        children = {
            child.alias or name: _shape(child.annotation, child, name) for name, child in kind.model_fields.items()
        }
        return Shape("section", children, attribute=attribute, info=info)
    if get_origin(kind) in (dict, tuple):
        of_mapping = get_origin(kind) is dict
        item = _shape(get_args(kind)[1 if of_mapping else 0])
        return Shape("mapping" if of_mapping else "sequence", item=item, attribute=attribute, info=info)
    choices = ("true", "false") if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
    extra = info.json_schema_extra if info else None
    listed: Any = extra.get("enum", ()) if isinstance(extra, dict) else ()
    return Shape("value", type=kind, choices=choices or tuple(listed), attribute=attribute, info=info)


def _bare(annotation: Any) -> Any:
    """The annotation without Annotated and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        given = [member for member in get_args(annotation) if member is not type(None)]
        return _bare(given[0]) if len(given) == 1 else annotation
    return annotation
