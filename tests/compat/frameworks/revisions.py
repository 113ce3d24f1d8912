"""`revision`: branches, a branch with a slash, a tag, a pull request, a commit

repos: branches
"""

import hashlib
import json
import os

from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
from transformers.utils import cached_file


def seen(model):
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return [model.name_or_path, digest.hexdigest()]


commits = set()
for revision in (None, "main", "v1.0", "feature/two", "refs/pr/1"):
    options = {} if revision is None else {"revision": revision}
    print(json.dumps([revision, seen(AutoModelForCausalLM.from_pretrained("tiny/branches", **options))]))
    print(json.dumps(AutoTokenizer.from_pretrained("tiny/branches", **options)("the quick fox")["input_ids"]))
    commits.add(os.path.basename(os.path.dirname(cached_file("tiny/branches", "config.json", **options))))
print(sorted(commits))
for commit in sorted(commits):
    print(json.dumps(seen(AutoModelForCausalLM.from_pretrained("tiny/branches", revision=commit))))
    print(AutoTokenizer.from_pretrained("tiny/branches", revision=commit).name_or_path)
print(json.dumps(seen(pipeline("text-generation", "tiny/branches", revision="v1.0").model)))
