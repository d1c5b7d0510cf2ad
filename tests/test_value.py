"""Frozen values: which of their fields are compared and shown."""

import math

import pytest
from msgspec.structs import fields

from router.attempt import Attempt, Trail
from router.callers import Caller
from router.chat import Ask, Circumstances, owner
from router.config.network import Proxy
from router.config.values import Secret
from router.events import Finish, LateResult, Start
from router.usage import Meter, Usage
from router.value import Mutable, PartlyCompared, field, names, replace
from router.wire import Heading
from router.wire.shape import Ending

ASK = Ask(model="chat-model", messages=())
START = Start("a", "model-1")
HEADING = Heading(request_id="1", message_id="2", model="chat-model", created=0)
PARTLY: list[tuple[PartlyCompared, dict[str, object]]] = [
    (ASK, {"circumstances": Circumstances("ann"), "session": lambda: "s", "trail": Trail([[]])}),
    (START, {"output": "native", "meter": Meter()}),
    (Attempt("a", "ok", 1.0), {"output": "native", "model": "model-1", "said": 3, "meter": Meter()}),
    (Finish("stop"), {"model": "model-1"}),
    (LateResult("1", "look", {}, None), {"seconds": 2.0}),
    (HEADING, {"ending": Ending(at=1)}),
    (Caller("key", "ann", "key:ann"), {"claims": {"email": "ann@example.com"}, "owner": owner("key:ann", ""), "free": True}),
]


@pytest.mark.parametrize(("value", "beside"), PARTLY, ids=lambda one: type(one).__name__)
def test_fields_listed_in_beside_are_neither_compared_nor_shown(value: PartlyCompared, beside: dict[str, object]) -> None:
    """Two values that differ only in fields listed in BESIDE are equal and have the same representation."""
    assert beside.keys() == type(value).BESIDE
    assert set(names(type(value))) >= type(value).BESIDE
    changed = replace(value, **beside)
    assert changed == value
    assert repr(changed) == repr(value)
    assert all(getattr(changed, name) == given for name, given in beside.items())


def test_fields_outside_of_beside_are_compared_and_shown() -> None:
    """Values that differ in type or in a field not listed in BESIDE are unequal; hashes follow equality, `repr` shows the field."""
    assert replace(ASK, model="other") != ASK
    assert replace(START, age=1.0) != START
    assert Attempt("a", "model-1", 1.0) != START
    assert repr(Finish("stop", Usage(1))).startswith("Finish(reason='stop', usage=Usage(input_tokens=1,")
    assert hash(replace(START, meter=Meter())) == hash(START)
    assert len({START, replace(START, output="native"), replace(START, target="b")}) == 2


def test_rich_shows_no_field_that_the_representation_leaves_out() -> None:
    """`rich`, which shows values in tracebacks and logs by `__rich_repr__`, gets the fields of the repr: no secret, nothing of BESIDE."""
    assert Proxy("proxy.example.com", 3128, user="ann", password="pass").__rich_repr__() == [
        ("host", "proxy.example.com"),
        ("port", 3128),
        ("tls", False),
    ]
    assert Secret("sk-1", "${KEY}").__rich_repr__() == [("source", "${KEY}")]
    for value, beside in PARTLY:
        shown = dict(value.__rich_repr__())
        assert shown.keys() == set(names(type(value))) - beside.keys()
        assert all(getattr(value, name) == held for name, held in shown.items())


class Made(Mutable):
    """A record with a list and a dict of its own, and a value that a function makes."""

    pieces: list[int] = field(default_factory=list[int])
    names: dict[str, int] = field(default_factory=dict[str, int])
    began: float = field(default_factory=lambda: 1.5)


def test_each_record_gets_a_list_and_a_dict_of_its_own() -> None:
    """A `default_factory` with a type argument is stored without it, and makes a new object for each record; a function is kept."""
    one, other = Made(), Made([1])
    one.pieces.append(2)
    one.names["a"] = 1
    assert (one.pieces, other.pieces, Made().pieces, Made().names, Made().began) == ([2], [1], [], {}, 1.5)
    assert [each.default_factory for each in fields(Made)[:2]] == [list, dict]


def test_value_refuses_assignment_to_a_field() -> None:
    """Assignment to a field of a value raises AttributeError."""
    with pytest.raises(AttributeError):
        ASK.model = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert ASK.until == math.inf
