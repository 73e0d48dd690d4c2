"""The stream fold: rebuild the response from its events, one event at a time.

The fold is an incremental state machine. It never raises on any input. It assigns every event to its item and
part, keeps what was accumulated, and remembers by event number where each thing happened. Rules about
order, indexes, ids, accumulation and snapshots read these traces; the fold itself checks nothing.

Assignment is forgiving, so that one defect does not look like ten: an event that lacks ``output_index`` is placed by
its ``item_id``, one that lacks both belongs to the item that is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final, TypeVar

from msgspec import Struct

from rejoinder.contract import Dialect, EventSpec
from rejoinder.json_copy import copy_json

T = TypeVar("T")
_NO_SPECS: Final[Mapping[str, EventSpec]] = {}


class PartTrace(Struct, gc=False):
    """One content or summary part of an item, or the item's own text (arguments, input, code).

    All ``*_at`` values are event numbers. ``pieces`` are the texts of the deltas, ``typed`` the value in the typed done
    event (``None`` when there was none or it was no string). ``announced`` and ``closed`` are the part objects of
    the added and done events.
    """

    container: str
    position: int
    announced_at: Sequence[int] = ()
    announced: Any = None
    index: int | None = None
    deltas_at: Sequence[int] = ()
    pieces: Sequence[str] = ()
    typed_at: Sequence[int] = ()
    typed: str | None = None
    closed_at: Sequence[int] = ()
    closed: Any = None
    specs: Mapping[str, EventSpec] = _NO_SPECS
    annotations: Sequence[tuple[int, Any, Any]] = ()  # event, annotation_index, annotation

    @property
    def text(self) -> str:
        """What the deltas add up to."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    @property
    def first_use(self) -> int | None:
        """The number of the first delta or typed done event, ``None`` when there was neither."""
        return min((*self.deltas_at[:1], *self.typed_at[:1]), default=None)

    @property
    def spec(self) -> EventSpec | None:
        """The event family that carried the text, ``None`` when there was none."""
        return next(iter(self.specs.values()), None)


class _Container(Struct, gc=False):
    """The parts of one container of an item, how many were announced, and the first and the last of each index.

    Of one part alone no index is kept, since a stream may have as many items as events.
    """

    name: str
    parts: Sequence[PartTrace] = ()
    announced: int = 0
    _first: dict[int | None, PartTrace] | None = None
    _last: dict[int | None, PartTrace] | None = None
    _ordered: bool = False
    _ordered_for: int = -1

    def add(self, part: PartTrace) -> None:
        """Take a part behind the others."""
        self.parts = _longer(self.parts, part)
        if len(self.parts) > 1:
            if self._first is None or self._last is None:
                self._first, self._last = {}, {}
                self._note(self.parts[0], self._first, self._last)
            self._note(part, self._first, self._last)

    def _note(self, part: PartTrace, first: dict[int | None, PartTrace], last: dict[int | None, PartTrace]) -> None:
        first.setdefault(part.index, part)
        last[part.index] = part

    def first(self, index: int) -> PartTrace | None:
        """Return the first part with this index, ``None`` without one."""
        return self._first.get(index) if self._first is not None else self._only(index)

    def last(self, index: int) -> PartTrace | None:
        """Return the last part with this index, ``None`` without one."""
        return self._last.get(index) if self._last is not None else self._only(index)

    def _only(self, index: int) -> PartTrace | None:
        return self.parts[0] if self.parts and self.parts[0].index == index else None

    @property
    def ordered(self) -> bool:
        """Whether the indexes of the parts are 0, 1, 2, ... in any order."""
        if self._ordered_for != len(self.parts):
            self._ordered_for = len(self.parts)
            indexes = [part.index for part in self.parts if part.index is not None]
            self._ordered = sorted(indexes) == list(range(len(self.parts)))
        return self._ordered


class ItemTrace(Struct, gc=False):
    """One output item as the stream describes it. All ``*_at`` values are event numbers."""

    position: int
    output_index: int | None = None
    id: str | None = None
    announced_at: Sequence[int] = ()
    announced: Any = None
    closed_at: Sequence[int] = ()
    closed: Any = None
    events: Sequence[int] = ()
    progress: Sequence[tuple[int, str]] = ()
    parts: Sequence[PartTrace] = ()
    _containers: Sequence[_Container] = ()

    @property
    def is_open(self) -> bool:
        """Whether the item was announced and not closed."""
        return bool(self.announced_at) and not self.closed_at

    @property
    def type(self) -> str:
        """The item's type as announced, else as closed, else the empty string."""
        for item in (self.announced, self.closed):
            if isinstance(item, dict) and isinstance(item.get("type"), str):
                return str(item["type"])
        return ""

    def of(self, container: str) -> Sequence[PartTrace]:
        """Return the item's parts in one container: ``content``, ``summary`` or ``item``."""
        known = self._container(container)
        return known.parts if known else ()

    def _container(self, name: str) -> _Container | None:
        for known in self._containers:
            if known.name == name:
                return known
        return None

    def announced_parts(self, container: str) -> int:
        """Return how many parts of a container were announced."""
        known = self._container(container)
        return known.announced if known else 0

    def announce(self, part: PartTrace, number: int) -> None:
        """Note that an event announces a part."""
        if known := self._container(part.container):
            known.announced += not part.announced_at
        part.announced_at = _longer(part.announced_at, number)

    def place(self, part: PartTrace) -> int:
        """Return a part's place in its container: its index, if all indexes there make sense, else its position."""
        known = self._container(part.container)
        return part.index if part.index is not None and known and known.ordered else part.position

    def add(self, container: str, index: int | None) -> PartTrace:
        """Return a new part at the end of a container."""
        known = self._container(container)
        if known is None:
            known = _Container(container)
            self._containers = _longer(self._containers, known)
        part = PartTrace(container, len(known.parts), index=index)
        known.add(part)
        self.parts = _longer(self.parts, part)
        return part

    def first(self, container: str, index: int) -> PartTrace | None:
        """Return the first part of a container with this index, ``None`` without one."""
        known = self._container(container)
        return known.first(index) if known else None

    def last(self, container: str, index: int | None) -> PartTrace | None:
        """Return the last part of a container, of those with this index if it is not ``None``."""
        known = self._container(container)
        if known is None:
            return None
        return known.parts[-1] if index is None else known.last(index)


def _longer(sequence: Sequence[T], element: T) -> Sequence[T]:
    """Return a sequence of a trace with a further element: none and one are tuples, more are a list.

    A stream may have as many items and parts as events, and most of them have no or one element of each kind.
    """
    if isinstance(sequence, list):
        sequence.append(element)
        return sequence
    return [*sequence, element] if sequence else (element,)


class Snapshot(Struct, frozen=True, gc=False):
    """A response object inside a lifecycle event."""

    event: int
    type: str
    response: Any


class Misnamed(Struct, frozen=True, gc=False):
    """An event whose ``item_id`` or ``output_index`` does not fit the announced items."""

    event: int
    field: str
    expected: Any
    actual: Any


class StreamFold:
    """Feed it parsed event data in order; read the traces at any time.

    ``items`` are in order of first mention. ``snapshots`` holds every lifecycle event with a response, ``terminals``
    the event numbers of terminal events, ``errors`` those of error events, ``misnamed`` the events that name no or
    another item.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._specs = dialect.events
        self.count = 0
        self.items: list[ItemTrace] = []
        self.snapshots: list[Snapshot] = []
        self.terminals: list[int] = []
        self.errors: list[int] = []
        self.misnamed: list[Misnamed] = []
        self._by_index: dict[int, ItemTrace] = {}
        self._by_id: dict[str, ItemTrace] = {}
        self._families: dict[str, Mapping[str, EventSpec]] = {}
        self._open: ItemTrace | None = None
        self._announced: list[int] = []
        self._ordered = False
        self._ordered_for = -1

    def feed(self, data: Any) -> None:
        """Take the next event's parsed data, which may be any JSON value."""
        number = self.count
        self.count += 1
        if not isinstance(data, dict):
            return
        kind = data.get("type")
        spec = self._specs.get(kind) if isinstance(kind, str) else None
        if spec is None:
            return
        role = spec.role
        if role == "delta":
            self._delta(number, data, spec)
        elif role in ("snapshot", "terminal"):
            self.snapshots.append(Snapshot(number, spec.type, data.get("response")))
            if role == "terminal":
                self.terminals.append(number)
        elif role == "item.added":
            self._item_added(number, data)
        elif role == "item.done":
            self._item_done(number, data)
        elif role == "part.added":
            self._part_added(number, data, spec)
        elif role == "part.done":
            self._part_done(number, data, spec)
        elif role == "done":
            self._typed_done(number, data, spec)
        elif role == "annotation":
            part = self._part(number, data, spec)
            noted = number, data.get("annotation_index"), data.get("annotation")
            part.annotations = _longer(part.annotations, noted)
        elif role == "progress":
            item = self._item(number, data)
            item.progress = _longer(item.progress, (number, spec.type))
        elif role == "error":
            self.errors.append(number)
        elif "item_id" in data or "output_index" in data:
            self._item(number, data)

    @property
    def terminal(self) -> Snapshot | None:
        """The first terminal snapshot, ``None`` before it came."""
        if not self.terminals:
            return None
        return next(snapshot for snapshot in self.snapshots if snapshot.event == self.terminals[0])

    def output(self) -> list[Any]:
        """Return the output items that the events describe, without looking at any snapshot of the response.

        An item is its closed form (or its announced form, if it was never closed) with every streamed text put in from
        the deltas; items stand at their :meth:`place`.
        """
        return [_rebuild(item) for item in sorted(self.items, key=self.place)]

    def place(self, item: ItemTrace) -> int:
        """Return the item's place in the output: its ``output_index``, if the indexes of all items make sense.

        They do when they are 0, 1, 2, ... in any order; else the order of mention counts.
        """
        if self._ordered_for != len(self.items):
            self._ordered_for = len(self.items)
            indexes = [item.output_index for item in self.items if item.output_index is not None]
            self._ordered = sorted(indexes) == list(range(len(self.items)))
        return item.output_index if self._ordered and item.output_index is not None else item.position

    def _item_added(self, number: int, data: dict[str, Any]) -> None:
        announced = data.get("item")
        index = _integer(data.get("output_index"))
        identity = _text(announced.get("id")) if isinstance(announced, dict) else None
        known = self._by_id.get(identity) if identity else None
        if known is not None and index is not None and known.output_index not in (None, index):
            known = None  # two items under one id
        if known is None and index is not None:
            same_index = self._by_index.get(index)
            # The same index again is a second item, unless the first was only mentioned and never announced.
            known = same_index if same_index is not None and not same_index.announced_at else None
        if known is None:
            known = self._new_item()
        known.announced_at = _longer(known.announced_at, number)
        heappush(self._announced, -known.position)
        known.events = _longer(known.events, number)
        if len(known.announced_at) == 1:
            known.announced = announced
            known.output_index = index if index is not None else known.output_index
            known.id = identity or known.id
        if index is not None:
            self._by_index[index] = known
        if identity:
            self._by_id[identity] = known
        self._open = known

    def _item_done(self, number: int, data: dict[str, Any]) -> None:
        closed = data.get("item")
        identity = _text(closed.get("id")) if isinstance(closed, dict) else None
        index = _integer(data.get("output_index"))
        item = self._known(identity, index) or (self._open if index is None else None)
        if item is None:
            item = self._new_item(index, identity)
        item.events = _longer(item.events, number)
        item.closed_at = _longer(item.closed_at, number)
        if len(item.closed_at) == 1:
            item.closed = closed
        if self._open is item:
            self._open = self._last_open()

    def _last_open(self) -> ItemTrace | None:
        """Return the last item that is open. An item that was closed never opens again, so each is passed once."""
        while self._announced:
            item = self.items[-self._announced[0]]
            if item.is_open:
                return item
            heappop(self._announced)
        return None

    def _part_added(self, number: int, data: dict[str, Any], spec: EventSpec) -> None:
        item = self._item(number, data)
        index = _integer(data.get(spec.index))
        part = None if index is None else item.first(spec.container, index)
        if part is None or part.closed_at:
            part = item.add(spec.container, index)
        item.announce(part, number)
        if len(part.announced_at) == 1:
            part.announced = data.get("part")

    def _part_done(self, number: int, data: dict[str, Any], spec: EventSpec) -> None:
        part = self._part(number, data, spec)
        part.closed_at = _longer(part.closed_at, number)
        if len(part.closed_at) == 1:
            part.closed = data.get("part")

    def _delta(self, number: int, data: dict[str, Any], spec: EventSpec) -> None:
        part = self._part(number, data, spec)
        part.deltas_at = _longer(part.deltas_at, number)
        if part.specs.get(spec.part) is not spec:
            part.specs = self._with(part.specs, spec)
        delta = data.get("delta")
        if isinstance(delta, str):
            part.pieces = _longer(part.pieces, delta)

    def _typed_done(self, number: int, data: dict[str, Any], spec: EventSpec) -> None:
        part = self._part(number, data, spec)
        part.typed_at = _longer(part.typed_at, number)
        if spec.part not in part.specs:
            part.specs = self._with(part.specs, spec)
        if len(part.typed_at) == 1:
            part.typed = _text(data.get(spec.field))

    def _with(self, specs: Mapping[str, EventSpec], spec: EventSpec) -> Mapping[str, EventSpec]:
        """Return the event families of a part with a further one; parts of one family have them in common."""
        if specs:
            return {**specs, spec.part: spec}
        return self._families.setdefault(spec.type, {spec.part: spec})

    def _part(self, number: int, data: dict[str, Any], spec: EventSpec) -> PartTrace:
        """Find the part that an event speaks of, or make one that was never announced."""
        item = self._item(number, data)
        container = spec.container
        index = _integer(data.get(spec.index)) if spec.index else 0
        part = item.last(container, index)
        if part is not None:
            return part
        last = item.last(container, None)
        return last if last is not None and last.index is None else item.add(container, index)

    def _item(self, number: int, data: dict[str, Any]) -> ItemTrace:
        """Find the item that an event speaks of, or make one that was never announced; note a wrong name."""
        identity = data.get("item_id")
        index = data.get("output_index")
        by_id = self._by_id.get(identity) if isinstance(identity, str) else None
        by_index = self._by_index.get(index) if type(index) is int else None
        item = self._known(identity, index)
        if item is None:
            if self._open is not None and not (type(index) is int and isinstance(identity, str)):
                item = self._open
            else:
                item = self._new_item(_integer(index), _text(identity))
        if isinstance(identity, str) and by_id is None and item.announced_at and item.id is not None:
            self.misnamed.append(Misnamed(number, "item_id", item.id, identity))
        if type(index) is int and by_index is not item and item.announced_at and item.output_index is not None:
            self.misnamed.append(Misnamed(number, "output_index", item.output_index, index))
        item.events = _longer(item.events, number)
        return item

    def _known(self, identity: Any, index: Any) -> ItemTrace | None:
        """Return the item of that id, else the one of that index; of several items under one id the one of both."""
        by_index = self._by_index.get(index) if type(index) is int else None
        if not isinstance(identity, str) or (by_index is not None and by_index.id == identity):
            return by_index
        return self._by_id.get(identity) or by_index

    def _new_item(self, index: int | None = None, identity: str | None = None) -> ItemTrace:
        item = ItemTrace(len(self.items), output_index=index, id=identity)
        self.items.append(item)
        if index is not None:
            self._by_index.setdefault(index, item)
        if identity:
            self._by_id.setdefault(identity, item)
        return item


def _rebuild(trace: ItemTrace) -> Any:
    base = trace.closed if isinstance(trace.closed, dict) else trace.announced
    if not isinstance(base, dict):
        return base
    item: dict[str, Any] = copy_json(base)
    for part in sorted(trace.parts, key=trace.place):
        spec = part.spec
        if part.container == "item":
            if spec is not None and part.deltas_at:
                item[spec.field] = part.text
            continue
        parts = item.get(part.container)
        if not isinstance(parts, list):
            parts = item[part.container] = []
        place = trace.place(part)
        if place == len(parts):
            announced = part.closed if isinstance(part.closed, dict) else part.announced
            parts.append(copy_json(announced) if isinstance(announced, Mapping) else {})
        if 0 <= place < len(parts) and isinstance(parts[place], dict) and spec is not None and part.deltas_at:
            parts[place][spec.field] = part.text
    return item


def _integer(value: Any) -> int | None:
    return value if type(value) is int else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
