"""Read data sets of three formats."""

import json

from datasets import load_dataset


def main():
    parquet = load_dataset("tiny/parquet")
    result = {
        "parquet": {split: rows.to_list() for split, rows in parquet.items()},
        "csv": load_dataset("tiny/csv", split="train").to_list(),
        "json": load_dataset("tiny/json", data_files="rows.jsonl", split="train").to_list(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
