import hashlib
import json

import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor

MODEL = "tiny/clip"


def main():
    model = CLIPModel.from_pretrained(MODEL)
    processor = CLIPProcessor.from_pretrained(MODEL)
    image = Image.linear_gradient("L").convert("RGB")
    inputs = processor(text=["a dog", "the brown fox"], images=image, return_tensors="pt", padding=True)
    with torch.no_grad():
        scores = model.eval()(**inputs).logits_per_image.softmax(dim=1)
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(name.encode())
        weights.update(tensor.numpy().tobytes())
    pixels = hashlib.sha256(inputs["pixel_values"].double().numpy().round(5).tobytes()).hexdigest()
    print(
        json.dumps(
            {
                "class": type(model).__name__,
                "weights": weights.hexdigest(),
                "tokens": [inputs["input_ids"].tolist(), pixels],
                "name_or_path": model.name_or_path,
                "output": hashlib.sha256(str([round(x, 5) for x in scores[0].tolist()]).encode()).hexdigest(),
            }
        )
    )


if __name__ == "__main__":
    main()
