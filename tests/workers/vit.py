import hashlib
import json

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

REPO = "tiny/vit"


def picture(side=48):
    ramp = np.arange(side * side * 3, dtype=np.uint32) * 7 % 256
    return Image.fromarray(ramp.astype(np.uint8).reshape(side, side, 3))


def sha(blob):
    return hashlib.sha256(blob).hexdigest()


def main():
    processor = AutoImageProcessor.from_pretrained(REPO)
    model = AutoModelForImageClassification.from_pretrained(REPO).eval()
    pixels = processor(images=picture(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = model(pixels).logits
    state = model.state_dict()
    result = {
        "class": type(model).__name__,
        "weights": sha(b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))),
        "tokens": sha(np.round(pixels.double().numpy(), 5).tobytes()),
        "name_or_path": model.name_or_path,
        "output": sha(json.dumps([round(x, 5) for x in logits[0].tolist()]).encode()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
