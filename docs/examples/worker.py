"""How alike are a few sentences? Prints the cosine similarity of each pair of their embeddings."""

import sys

import torch
from transformers import AutoModel, AutoTokenizer

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SENTENCES = [
    "A cat sleeps on the sofa.",
    "A kitten naps on the couch.",
    "The stock market fell today.",
    "Shares lost value this afternoon.",
]


def embed(model_name: str, sentences: list[str]) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    model = AutoModel.from_pretrained(model_name)
    batch = tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        tokens = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    means = (tokens * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(means, dim=1)


def main() -> None:
    embeddings = embed(sys.argv[1] if len(sys.argv) > 1 else MODEL, SENTENCES)
    similarities = embeddings @ embeddings.T
    width = max(map(len, SENTENCES))
    for sentence, row in zip(SENTENCES, similarities, strict=True):
        print(f"{sentence:{width}}", *(f"{value:6.2f}" for value in row.tolist()))


if __name__ == "__main__":
    main()
