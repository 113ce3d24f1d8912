"""Warnings and errors of a load name the caller's line

models: bert
when: always
"""

import json
import traceback
import warnings

from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel

warnings.simplefilter("always")
CALLS = [
    lambda: AutoModel.from_pretrained("tiny/bert", torch_dtype="auto"),
    lambda: AutoConfig.from_pretrained("tiny/bert", use_auth_token=True),
    lambda: AutoTokenizer.from_pretrained("tiny/bert", nothing_such=1).name_or_path,
    lambda: BertModel.from_pretrained("tiny/bert", no_such_argument=1),
    lambda: AutoModel.from_pretrained("not a name!"),
    lambda: AutoModel.from_pretrained("tiny/bert", config=3),
    lambda: BertConfig.from_pretrained("./no/such/folder"),
]
for place, call in enumerate(CALLS):
    with warnings.catch_warnings(record=True) as caught:
        try:
            print(json.dumps([place, type(call()).__name__]))
        except Exception as error:
            print(json.dumps([place, type(error).__name__, str(error)]))
            chain = [type(error.__cause__).__name__, type(error.__context__).__name__]
            print(json.dumps([place, chain, traceback.extract_tb(error.__traceback__)[0].filename == __file__]))
    for warning in caught:
        print(json.dumps([place, warning.category.__name__, str(warning.message), warning.filename, warning.lineno]))
