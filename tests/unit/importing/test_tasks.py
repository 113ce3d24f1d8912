"""The task of a config's architectures, by tables like those of transformers."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from pinformers.importing.tasks import task_of

TABLES = {
    "MODEL_MAPPING_NAMES": {"a": "AModel", "c": "CModel", "d": "DModel"},
    "MODEL_FOR_PRETRAINING_MAPPING_NAMES": {"a": "AForPreTraining"},
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES": {"a": "AForSequenceClassification"},
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES": {"c": ("CForImageClassification", "CWithTeacher")},
    "MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES": {"c": "CModel"},
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES": {"b": "BLM"},
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": {"b": "BLM"},
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES": {"a": "AForMultipleChoice"},
    "MODEL_MAPPING": {"a": "Another"},
}
TASKS = "feature-extraction text-classification image-classification zero-shot-image-classification text-generation"


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["AForSequenceClassification"]}, "text-classification"),
        ({"architectures": ["CWithTeacher"]}, "image-classification"),
        ({"architectures": ["AModel"]}, "feature-extraction"),
        ({"architectures": ["CModel"]}, "zero-shot-image-classification"),
        ({"architectures": ["BLM"]}, None),
        ({"architectures": ["AForPreTraining"]}, None),
        ({"architectures": ["AForMultipleChoice"]}, None),
        ({"architectures": ["Unheard"]}, None),
        ({"architectures": [["AModel"], None]}, None),
        ({"architectures": "AModel"}, None),
        ({"model_type": "a"}, None),
        (None, None),
    ],
)
def test_the_task_is_that_of_the_one_table_that_has_a_pipeline(
    config: object, task: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in (("models.auto.modeling_auto", TABLES), ("pipelines", {"SUPPORTED_TASKS": {}})):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, f"transformers.{name}", module)
    assert task_of(config) is None
    sys.modules["transformers.pipelines"].SUPPORTED_TASKS = {name: {} for name in [*TASKS.split(), "fill-mask"]}
    assert task_of(config) == task
    monkeypatch.delitem(sys.modules, "transformers.models.auto.modeling_auto")
    assert task_of(config) is None
