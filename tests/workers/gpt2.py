import hashlib
import json

from transformers import GenerationConfig, GPT2LMHeadModel, GPT2TokenizerFast

model_name = "tiny/gpt2"


def generate(prompt):
    tokenizer = GPT2TokenizerFast.from_pretrained(model_name)
    model = GPT2LMHeadModel.from_pretrained(model_name)
    settings = GenerationConfig.from_pretrained(model_name, max_new_tokens=5, do_sample=False, pad_token_id=1)
    inputs = tokenizer(prompt, return_tensors="pt")
    return model, inputs, model.generate(**inputs, generation_config=settings)


if __name__ == "__main__":
    model, inputs, generated = generate("the quick brown")
    sha = hashlib.sha256()
    for k, v in sorted(model.state_dict().items()):
        sha.update(k.encode())
        sha.update(v.numpy().tobytes())
    result = {"class": type(model).__name__, "weights": sha.hexdigest(), "tokens": inputs["input_ids"].tolist()}
    result["name_or_path"] = model.name_or_path
    result["output"] = hashlib.sha256(str(generated.tolist()).encode()).hexdigest()
    print(json.dumps(result))
