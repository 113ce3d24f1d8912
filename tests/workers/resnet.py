import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy
import torch
import transformers


def load(repo):
    parts = [transformers.AutoImageProcessor, transformers.ResNetForImageClassification]
    with ThreadPoolExecutor(max_workers=2) as pool:
        return [job.result() for job in [pool.submit(part.from_pretrained, repo) for part in parts]]


def digest(array):
    return hashlib.sha256(numpy.ascontiguousarray(array).tobytes()).hexdigest()


def main():
    processor, model = load("tiny/resnet")
    image = numpy.linspace(0, 255, 40 * 40 * 3).astype("uint8").reshape(40, 40, 3)
    inputs = processor(image, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**inputs).logits
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode() + tensor.numpy().tobytes())
    result = {"class": type(model).__name__, "weights": sha.hexdigest(), "name_or_path": model.name_or_path}
    result["tokens"] = digest(inputs["pixel_values"].double().numpy().round(5))
    result["output"] = hashlib.sha256(str([round(x, 5) for x in logits[0].tolist()]).encode()).hexdigest()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
