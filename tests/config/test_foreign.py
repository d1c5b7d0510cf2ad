"""YAML files of other programs (LiteLLM): read as PyYAML reads them, with the place of each value, and within bounds."""

from collections.abc import Mapping

import pytest
import yaml

from router.config.document import UnreadableYaml
from router.config.foreign import Located, understood
from router.errors import Place


def plain(said: Located) -> object:
    """Return a located value as plain dicts, lists and scalars, without the places."""
    if isinstance(said.value, Mapping):
        return {key: plain(one) for key, one in said.value.items()}
    return [plain(one) for one in said.value] if isinstance(said.value, tuple) else said.value


TEXTS = [
    "a: yes\nb: off\nc: ~\nd: 1_000\ne: 012\nf: 1.5\ng: 1e3\nh: .inf\ni: 'yes'\nj: 0x1f\n",
    "a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}\nc: {l: 4, <<: *x}\n",
    "a: &x {k: 1}\nb: &y {k: 2, l: 2}\nc: {<<: [*x, *y]}\nd: [*x, *y]\n",
    "a: 1\na: 2\n",
    "a: |\n  one\n  two\nb: >-\n  one\n  two\n",
    "- a\n- [b, {c: d}]\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_foreign_yaml_is_read_as_pyyaml_reads_it(text: str) -> None:
    """Booleans and numbers of YAML 1.1, merge keys, repeated keys and block texts have the values that PyYAML gives them."""
    said = understood(text, "f")
    assert said is not None
    assert plain(said) == yaml.safe_load(text)


def test_date_in_foreign_yaml_remains_a_string() -> None:
    """A date or timestamp is read as the string that was written, not as a date."""
    said = understood("v: 2024-10-21\nw: 2001-12-14t21:59:43.10-05:00", "f")
    assert said is not None
    assert plain(said) == {"v": "2024-10-21", "w": "2001-12-14t21:59:43.10-05:00"}


def test_foreign_yaml_value_has_the_place_where_it_was_written() -> None:
    """A value that an alias or a merge key inserts has the file, line and column where it was written."""
    said = understood("a: &x\n  k: 1\nb: {<<: *x}\nc: *x\n", "f.yaml")
    assert said is not None
    assert [said.table[key].table["k"].place for key in "abc"] == [Place("f.yaml", 2, 6)] * 3


def test_empty_foreign_yaml_is_none() -> None:
    """An empty document, or one with only comments, is read as None."""
    assert understood("", "f") is None
    assert understood("# nothing\n", "f") is None


REFUSED = {
    "a: [1": "f:1:4: this is not YAML",
    "a: 1\n---\nb: 2\n": "f:2:1: this is not YAML: but found another document",
    "a: &a {b: *a}": "f:1:4: nested deeper than 32 levels",
    "[" * 40 + "]" * 40: "f:1:34: nested deeper than 32 levels",
    "<<: [1]": "f:1:6: `<<` takes a mapping, or a list of them",
    "{a: 1}: b": "f:1:1: a key must be a plain word",
    "a: *b": "f:1:4: this is not YAML: found undefined alias",
    "a: \x01": "f:1:4: this is not YAML",
}


@pytest.mark.parametrize("text", REFUSED)
def test_unreadable_foreign_yaml_is_refused_with_its_place(text: str) -> None:
    """A document that is not readable raises UnreadableYaml with one complaint that has file, line and column."""
    with pytest.raises(UnreadableYaml) as raised:
        understood(text, "f")
    assert str(raised.value.complaint).startswith(REFUSED[text])
