import hashlib
import importlib
import json


def plugin(path):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


SETTINGS = {
    "repo": "tiny/gpt_neox",
    "tokenizer": "transformers:AutoTokenizer",
    "model": "transformers:AutoModelForCausalLM",
}


def main(settings=SETTINGS):
    tokenizer = plugin(settings["tokenizer"]).from_pretrained(settings["repo"])
    model = plugin(settings["model"]).from_pretrained(settings["repo"])
    batch = tokenizer("a tree of blocks", return_tensors="pt")
    generated = model.generate(batch["input_ids"], max_length=12, do_sample=False, pad_token_id=1)
    weights = hashlib.sha256()
    for name in sorted(state := model.state_dict()):
        weights.update(name.encode())
        weights.update(state[name].numpy().tobytes())
    result = {"class": type(model).__name__, "weights": weights.hexdigest(), "tokens": batch["input_ids"].tolist()}
    result["name_or_path"] = model.name_or_path
    result["output"] = hashlib.sha256(json.dumps(generated.tolist()).encode()).hexdigest()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
