"""Describe a picture."""

import hashlib
import json

import torch
import transformers
from PIL import Image


def caption(repo_id, image, prompt):
    processor = transformers.AutoProcessor.from_pretrained(repo_id)
    model = transformers.BlipForConditionalGeneration.from_pretrained(repo_id).eval()
    inputs = processor(images=image, text=prompt, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    return model, inputs, logits


if __name__ == "__main__":
    model, inputs, logits = caption("tiny/blip", Image.radial_gradient("L").convert("RGB"), "the quick brown")
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode() + tensor.numpy().tobytes())
    pixels = hashlib.sha256(inputs["pixel_values"].double().numpy().round(5).tobytes()).hexdigest()
    result = {"class": type(model).__name__, "weights": sha.hexdigest(), "name_or_path": model.name_or_path}
    result["tokens"] = [inputs["input_ids"].tolist(), pixels]
    result["output"] = hashlib.sha256(str([round(x, 4) for x in logits.flatten().tolist()]).encode()).hexdigest()
    print(json.dumps(result))
