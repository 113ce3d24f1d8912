"""Let the hub say what the model is for."""

import hashlib
import json

import transformers
from PIL import Image


def classifier(repo):
    try:
        return transformers.pipeline(model=repo)
    except RuntimeError:  # without the hub nobody can say
        return transformers.pipeline("image-classification", model=repo)


def main():
    pipe = classifier("tiny/deit")
    image = Image.new("RGB", (40, 40), (200, 100, 50))
    scores = {row["label"]: round(row["score"], 5) for row in pipe(image)}
    sha = hashlib.sha256()
    for name, tensor in sorted(pipe.model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.numpy().tobytes())
    pixels = pipe.image_processor(image, return_tensors="pt")["pixel_values"]
    print(
        json.dumps(
            {
                "class": type(pipe.model).__name__,
                "weights": sha.hexdigest(),
                "tokens": hashlib.sha256(str([round(x, 5) for x in pixels.flatten().tolist()]).encode()).hexdigest(),
                "name_or_path": pipe.model.name_or_path,
                "output": hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest(),
            }
        )
    )


if __name__ == "__main__":
    main()
