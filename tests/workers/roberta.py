"""A worker that is handed its libraries in a dict."""

import hashlib
import json
import types


class Worker:
    def __init__(self, libs):
        self.libs = libs
        if not isinstance(libs["transformers"], types.ModuleType) or not hasattr(libs["transformers"], "AutoModel"):
            raise RuntimeError("transformers is not usable")

    def load(self, model_id):
        transformers = self.libs["transformers"]
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model_id)
        self.model = transformers.AutoModelForMaskedLM.from_pretrained(model_id)
        self.model.eval()

    def run(self, text):
        torch = self.libs["torch"]
        inputs = self.tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            return inputs["input_ids"], self.model(**inputs).logits

    def report(self, tokens, logits):
        sha = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            sha.update(name.encode())
            sha.update(value.numpy().tobytes())
        rounded = [round(x, 5) for x in logits.flatten().tolist()]
        return {
            "class": self.model.__class__.__name__,
            "weights": sha.hexdigest(),
            "tokens": tokens.tolist(),
            "name_or_path": self.model.name_or_path,
            "output": hashlib.sha256(repr(rounded).encode()).hexdigest(),
        }


if __name__ == "__main__":
    import torch
    import transformers

    worker = Worker({"transformers": transformers, "torch": torch, "json": json})
    worker.load("tiny/roberta")
    print(json.dumps(worker.report(*worker.run("pins keep the <mask>"))))
