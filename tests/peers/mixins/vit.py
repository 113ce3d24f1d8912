"""ViT, an encoder of images, under the common mixins."""

from __future__ import annotations

from typing import Any
from unittest import TestCase

import transformers
from tests.mixins.small import SmallModel
from tests.test_configuration_common import ConfigTester
from tests.test_modeling_common import ModelTesterMixin, floats_tensor


class SmallViT(SmallModel):
    config_class = transformers.ViTConfig
    image_size, patch_size, num_channels, encoder_stride = 8, 2, 3, 2
    num_masks, mask_length, seq_length = 8, 16, 17  # 16 patches, and the class token

    def arguments(self) -> dict[str, Any]:
        names = ("image_size", "patch_size", "num_channels", "encoder_stride")
        return super().arguments() | {name: getattr(self, name) for name in names}

    def prepare_config_and_inputs_for_common(self) -> tuple[Any, dict[str, Any]]:
        pixels = floats_tensor([self.batch_size, self.num_channels, self.image_size, self.image_size])
        return self.get_config(), {"pixel_values": pixels}


class TestViTModel(ModelTesterMixin, TestCase):
    all_model_classes = (
        transformers.ViTModel,
        transformers.ViTForImageClassification,
        transformers.ViTForMaskedImageModeling,
    )
    test_resize_embeddings = False
    # Its input embeddings are a convolution, which the common test does not take for one.
    test_model_get_set_embeddings = None

    def setUp(self) -> None:
        self.model_tester = SmallViT(self)

    def test_config(self) -> None:
        tester = ConfigTester(self, config_class=transformers.ViTConfig, has_text_modality=False, hidden_size=32)
        tester.run_common_tests()
