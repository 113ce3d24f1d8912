from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Iterator

import pytest

from pinformers import _errors
from pinformers._errors import PinformersError

# Each class: its fields, and the builtin by which code that knows nothing of us catches it.
ERRORS: dict[type[PinformersError], tuple[dict[str, object], type[Exception]]] = {
    _errors.SettingsError: (
        {"name": "log", "value": ["loud\nly"], "origin": "keyword", "expected": "'info' or 'off'"},
        ValueError,
    ),
    _errors.PinError: ({"subject": "/some/folder", "advice": "it holds no files; name another"}, OSError),
    _errors.NotPinned: ({"repo": "org/model", "revision": "main"}, OSError),
    _errors.NotLocked: ({"repo": "org/model", "revision": "main", "lockfile": "pinformers.lock"}, OSError),
    _errors.LockMismatch: ({"repo": "org/model", "lockfile": "pinformers.lock", "reason": "another CID"}, OSError),
    _errors.BadLock: ({"path": "pinformers.lock", "line": 12, "reason": "two sizes"}, OSError),
    _errors.SelftestFailed: ({"what": "build a model", "last": "no space left"}, Exception),
    _errors.CatalogRefused: ({"catalog": "team", "reason": "it went back from 7 to 6"}, OSError),
    _errors.ServeError: ({"subject": "127.0.0.1:80", "advice": "the port is taken; choose another"}, OSError),
    _errors.BadContent: ({}, ValueError),
    _errors.BadCID: ({"text": "bafy\n!", "reason": "it is cut short"}, ValueError),
    _errors.BadBlock: ({"cid": "bafkqaaa", "reason": "a field has the wrong type"}, ValueError),
    _errors.BadRecord: ({"name": "k51qzi", "reason": "its signature is not that of the name's owner"}, ValueError),
    _errors.BlockMismatch: ({"cid": "bafkqaaa"}, ValueError),
    _errors.BadCar: ({"reason": "the header is cut short"}, ValueError),
    _errors.SourceError: ({"source": "embedded", "reason": "nobody knows"}, OSError),
    _errors.SourceUnavailable: ({"source": "kubo", "reason": "connection refused"}, OSError),
    _errors.Refusal: ({"source": "gateway", "reason": "429", "kind": "busy", "wait": 5.0}, OSError),
    _errors.BlockNotFound: ({"source": "gateway", "reason": "404"}, OSError),
}
CASES = [pytest.param(cls, fields, base, id=cls.__name__) for cls, (fields, base) in ERRORS.items()]


def below(cls: type[PinformersError]) -> Iterator[type[PinformersError]]:
    for child in cls.__subclasses__():
        yield child
        yield from below(child)


def test_every_error_is_here_and_in_the_drawing() -> None:
    ours = {cls for cls in below(PinformersError) if cls.__module__.startswith("pinformers")}
    assert ours == set(ERRORS)
    drawn = re.findall(r"^[│ ]*[├└]── (\w+)", _errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(cls.__name__ for cls in ERRORS)


@pytest.mark.parametrize(("cls", "fields", "base"), CASES)
def test_it_survives_pickle_and_copy_with_its_fields(
    cls: type[PinformersError], fields: dict[str, object], base: type[Exception]
) -> None:
    error = cls(*fields.values())
    assert {name: getattr(error, name) for name in fields} == fields
    copies = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in (*copies, copy.copy(error), copy.deepcopy(error)):
        assert type(other) is cls
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize(
    ("cls", "fields", "base"), [case for case in CASES if case.id not in ("BadContent", "Refusal")]
)
def test_it_prints_one_sentence(cls: type[PinformersError], fields: dict[str, object], base: type[Exception]) -> None:
    text = str(cls(*fields.values()))
    assert "\n" not in text
    assert text.count(". ") == 0
    assert text.rstrip(".") == text or text == text.rstrip(".") + "."
    said = [field for name, field in fields.items() if name not in ("value", "text")]
    assert all(str(field) in text for field in said)


@pytest.mark.parametrize(("cls", "fields", "base"), CASES)
def test_it_is_caught_by_its_builtin_base(
    cls: type[PinformersError], fields: dict[str, object], base: type[Exception]
) -> None:
    with pytest.raises(base) as caught:
        raise cls(*fields.values())
    assert isinstance(caught.value, PinformersError)


def test_the_advice_of_not_pinned_is_a_command() -> None:
    text = str(_errors.NotPinned("org/model", "v1"))
    assert "org/model@v1 is not pinned" in text
    assert "`pinformers pin org/model --revision v1`" in text


def test_the_root_says_its_fields() -> None:
    assert str(PinformersError("one", 2)) == "one 2"
