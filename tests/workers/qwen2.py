import hashlib
import json

import transformers

MESSAGES = [{"role": "user", "content": "how are you today ?"}, {"role": "assistant", "content": "hello world"}]


def chat(repo):
    tokenizer = transformers.AutoTokenizer.from_pretrained(repo)
    model = transformers.AutoModelForCausalLM.from_pretrained(repo, torch_dtype="auto")
    plain = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    tools = tokenizer.apply_chat_template(MESSAGES, tokenize=False, chat_template="tool_use")
    batch = tokenizer([plain, tools], padding=True, padding_side="left", return_tensors="pt")
    return model, batch, model.generate(**batch, max_new_tokens=3, do_sample=False, pad_token_id=1)


def sha(*chunks):
    total = hashlib.sha256()
    for chunk in chunks:
        total.update(chunk)
    return total.hexdigest()


if __name__ == "__main__":
    model, batch, answer = chat("tiny/qwen2")
    state = sorted(model.state_dict().items())
    result = {
        "class": type(model).__name__,
        "weights": sha(*(part for name, tensor in state for part in (name.encode(), tensor.numpy().tobytes()))),
        "tokens": batch["input_ids"].tolist(),
        "name_or_path": model.name_or_path,
        "output": sha(str(answer.tolist()).encode()),
    }
    print(json.dumps(result))
