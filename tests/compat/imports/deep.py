"""`import transformers.models.bert.modeling_bert`, and other deep imports, before anything else

when: always
"""

import json
import sys

import transformers.models.bert.modeling_bert

print(json.dumps([sorted(vars(transformers.models.bert.modeling_bert)), type(transformers).__name__]))
module = sys.modules["transformers.models.bert.modeling_bert"]
assert transformers.models.bert.modeling_bert is module

import transformers.models.auto.modeling_auto as modeling_auto
from transformers import AutoModel, BertModel
from transformers.models.auto import AutoModel as second
from transformers.models.bert import BertModel as third

print(json.dumps([AutoModel is second is modeling_auto.AutoModel, BertModel is third is module.BertModel]))
print(json.dumps(sorted(name for name in sys.modules if name.startswith("transformers"))))
