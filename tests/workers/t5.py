import hashlib
import json

from transformers import GenerationConfig
from transformers.models.auto import AutoModelForSeq2SeqLM, AutoTokenizer

T5 = "tiny/t5"


def translate(text):
    tokenizer = AutoTokenizer.from_pretrained(T5)
    model = AutoModelForSeq2SeqLM.from_pretrained(T5)
    settings = GenerationConfig.from_pretrained(T5)
    assert (settings.num_beams, settings.max_new_tokens) == (2, 6)
    batch = tokenizer(text, return_tensors="pt")
    return model, batch, model.generate(batch["input_ids"], generation_config=settings)


def main():
    model, batch, generated = translate("hello world , how are you")
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    print(
        json.dumps(
            {
                "class": type(model).__name__,
                "weights": digest.hexdigest(),
                "tokens": batch["input_ids"].tolist(),
                "name_or_path": model.name_or_path,
                "output": hashlib.sha256(str(generated.tolist()).encode()).hexdigest(),
            }
        )
    )


if __name__ == "__main__":
    main()
