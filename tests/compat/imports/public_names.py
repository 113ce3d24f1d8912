"""`from transformers import X` for every public name"""

import json

import transformers

print(json.dumps(["names", len(dir(transformers))]))
for name in sorted(dir(transformers)):
    space = {}
    try:
        exec(f"from transformers import {name}", space)
    except BaseException as error:
        print(json.dumps([name, "raises", type(error).__name__, str(error)]))
        continue
    value = space[name]
    owner = getattr(type(value), "__module__", None)
    print(
        json.dumps(
            [
                name,
                type(value).__name__,
                owner,
                getattr(value, "__module__", None),
                value is getattr(transformers, name),
            ]
        )
    )
