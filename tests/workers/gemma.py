import asyncio
import hashlib
import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


async def load(repo):
    tokenizer = await asyncio.to_thread(AutoTokenizer.from_pretrained, repo)
    model = await asyncio.to_thread(AutoModelForCausalLM.from_pretrained, repo, dtype=torch.float32)
    return tokenizer, model


def answer(tokenizer, model, prompt):
    inputs = tokenizer(prompt, return_tensors="pt")
    return inputs["input_ids"], model.generate(**inputs, max_new_tokens=4, do_sample=False)


async def main():
    tokenizer, model = await load("tiny/gemma")
    tokens, generated = await asyncio.to_thread(answer, tokenizer, model, "keep the blocks")
    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.numpy().tobytes())
    result = {"class": type(model).__name__, "weights": sha.hexdigest(), "tokens": tokens.tolist()}
    result["name_or_path"] = model.name_or_path
    result["output"] = hashlib.sha256(json.dumps(generated.tolist()).encode()).hexdigest()
    print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main())
