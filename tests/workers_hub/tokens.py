"""Cut a sentence into tokens, without transformers."""

import json
import sys

from tokenizers import Tokenizer

MODEL = "tiny/tokenizer"


def main():
    tokenizer = Tokenizer.from_pretrained(MODEL)
    found = tokenizer.encode("the quick brown fox")
    print(json.dumps({"ids": found.ids, "tokens": found.tokens, "transformers": "transformers" in sys.modules}))


if __name__ == "__main__":
    main()
