import hashlib
import json

import numpy as np
import torch
from transformers import AutoModelForCTC, AutoProcessor

SPEECH_MODEL = "tiny/wav2vec2"


def transcribe(wave):
    processor = AutoProcessor.from_pretrained(SPEECH_MODEL)
    model = AutoModelForCTC.from_pretrained(SPEECH_MODEL).eval()
    inputs = processor(wave, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits
    return model, inputs["input_values"], processor.batch_decode(logits.argmax(-1)), logits


if __name__ == "__main__":
    model, values, text, logits = transcribe(np.sin(np.arange(1600) / 10).astype(np.float32))
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.numpy().tobytes())
    numbers = [round(x, 4) for x in logits.flatten().tolist()]
    result = {
        "class": type(model).__name__,
        "weights": sha.hexdigest(),
        "tokens": hashlib.sha256(values.double().numpy().round(5).tobytes()).hexdigest(),
        "name_or_path": model.name_or_path,
        "output": hashlib.sha256(json.dumps([text, numbers]).encode()).hexdigest(),
    }
    print(json.dumps(result))
