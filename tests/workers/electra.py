"""Nothing is imported before it is needed."""


def load_tokenizer(name):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(pretrained_model_name_or_path=name)


def load_model(name):
    from transformers import AutoModelForPreTraining

    return AutoModelForPreTraining.from_pretrained(pretrained_model_name_or_path=name).eval()


def digest(tensor):
    import hashlib

    return hashlib.sha256(str([round(x, 5) for x in tensor.flatten().tolist()]).encode()).hexdigest()


def weights(model):
    import hashlib

    sha = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        sha.update(name.encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()


def main():
    import json

    import torch

    tokenizer, model = load_tokenizer("tiny/electra"), load_model("tiny/electra")
    batch = tokenizer(["the lazy dog", "hello"], padding=True, return_tensors="pt")
    with torch.no_grad():
        output = digest(model(**batch).logits)
    result = {"class": type(model).__name__, "weights": weights(model), "tokens": batch["input_ids"].tolist()}
    print(json.dumps({**result, "name_or_path": model.name_or_path, "output": output}))


if __name__ == "__main__":
    main()
