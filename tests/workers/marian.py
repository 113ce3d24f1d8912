import functools
import hashlib
import json

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

REVISION = "main"
load_tokenizer = functools.partial(AutoTokenizer.from_pretrained, revision=REVISION)
load_model = functools.partial(AutoModelForSeq2SeqLM.from_pretrained, revision=REVISION)


@functools.lru_cache(maxsize=1)
def translator(name):
    return load_tokenizer(name), load_model(name).eval()


def main():
    tokenizer, model = translator("tiny/marian")
    batch = tokenizer("how are you today ?", return_tensors="pt")
    start = torch.tensor([[0]])
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], decoder_input_ids=start).logits
    weights = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        weights.update(name.encode() + tensor.numpy().tobytes())
    result = {"class": type(model).__name__, "weights": weights.hexdigest(), "tokens": batch["input_ids"].tolist()}
    result["name_or_path"] = model.name_or_path
    result["output"] = hashlib.sha256(repr([round(x, 5) for x in logits.flatten().tolist()]).encode()).hexdigest()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
