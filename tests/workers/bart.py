"""Bring our own subclass."""

import hashlib
import json

import torch
from transformers import AutoTokenizer, BartForConditionalGeneration


class Summariser(BartForConditionalGeneration):
    def summarise(self, batch):
        return self.generate(**batch, max_new_tokens=5, num_beams=1, do_sample=False)

    def fingerprint(self):
        sha = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            sha.update(name.encode())
            sha.update(tensor.numpy().tobytes())
        return sha.hexdigest()


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    tokenizer = AutoTokenizer.from_pretrained("tiny/bart")
    model = Summariser.from_pretrained("tiny/bart").eval()
    batch = tokenizer("the quick brown fox jumps over the lazy dog", return_tensors="pt")
    batch.pop("token_type_ids", None)
    summary = model.summarise(batch)
    torch.set_grad_enabled(True)
    print(
        json.dumps(
            {
                "class": type(model).__name__,
                "weights": model.fingerprint(),
                "tokens": batch["input_ids"].tolist(),
                "name_or_path": model.name_or_path,
                "output": hashlib.sha256(json.dumps(summary.tolist()).encode()).hexdigest(),
            }
        )
    )
