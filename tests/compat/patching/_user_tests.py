"""A user's own tests, which patch transformers with pytest's monkeypatch."""

import transformers
from transformers import AutoConfig, AutoTokenizer


def test_string(monkeypatch):
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", lambda *args, **kwargs: args)
    assert AutoConfig.from_pretrained("a") == ("a",)


def test_it_is_back():
    assert AutoConfig.from_pretrained("tiny/bert").hidden_size == 32


def test_object(monkeypatch):
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", classmethod(lambda cls, name: (cls, name)))
    assert AutoTokenizer.from_pretrained("b") == (AutoTokenizer, "b")
    assert transformers.AutoTokenizer.from_pretrained("b") == (AutoTokenizer, "b")


def test_delete(monkeypatch):
    monkeypatch.delattr(AutoConfig, "from_pretrained")
    assert not hasattr(AutoConfig, "from_pretrained")


def test_module_attribute(monkeypatch):
    monkeypatch.setattr(transformers, "AutoConfig", "mine")
    monkeypatch.setattr(transformers, "NotThere", 1, raising=False)
    assert (transformers.AutoConfig, transformers.NotThere) == ("mine", 1)


def test_module(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    try:
        import transformers as again
    except ImportError as error:
        assert "halted" in str(error)


def test_spy(monkeypatch):
    seen, original = [], AutoConfig.from_pretrained
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *args: (seen.append(args), original(*args))[1])
    assert AutoConfig.from_pretrained("tiny/bert").model_type == "bert"
    assert seen == [("tiny/bert",)]


def test_all_is_back():
    assert transformers.AutoConfig is AutoConfig
    assert not hasattr(transformers, "NotThere")
    assert AutoConfig.from_pretrained("tiny/bert").model_type == "bert"
