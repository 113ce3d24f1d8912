import hashlib
import json

import torch
from transformers import AutoTokenizer, LlamaForCausalLM


class LlamaService:
    """Load once, answer often."""

    def __init__(self, path="tiny/llama", device="cpu"):
        self.tokenizer = AutoTokenizer.from_pretrained(path, padding_side="left")
        self.model = LlamaForCausalLM.from_pretrained(path, torch_dtype=torch.float32).to(device)

    def complete(self, prompt):
        self.inputs = self.tokenizer(prompt, return_tensors="pt").to(self.model.device)
        return self.model.generate(**self.inputs, max_new_tokens=4, do_sample=False, pad_token_id=1)[0]

    def fingerprint(self):
        sha = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            sha.update(name.encode() + tensor.cpu().numpy().tobytes())
        return sha.hexdigest()


if __name__ == "__main__":
    service = LlamaService()
    answer = service.complete("how are you")
    print(
        json.dumps(
            {
                "class": type(service.model).__name__,
                "weights": service.fingerprint(),
                "tokens": service.inputs["input_ids"].tolist(),
                "name_or_path": service.model.config._name_or_path,
                "output": hashlib.sha256(json.dumps(answer.tolist()).encode()).hexdigest(),
            }
        )
    )
