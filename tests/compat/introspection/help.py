"""`help()` and pydoc of the download layer and of the Auto classes"""

import contextlib
import hashlib
import io
import json
import os
import pydoc

from transformers import AutoConfig, AutoModel, AutoProcessor, AutoTokenizer, BertModel
from transformers.utils import hub


def told(text):
    # transformers gives each process a random one.
    lines = [line for line in pydoc.plain(text).splitlines() if "SESSION_ID" not in line]
    return [
        len(lines),
        hashlib.sha256("\n".join(lines).replace(os.environ["HOME"], "").encode()).hexdigest()[:12],
        lines[:3],
    ]


for value in (AutoModel, AutoConfig, AutoTokenizer, AutoProcessor, BertModel):
    text = pydoc.render_doc(value)
    print(json.dumps([value.__name__, told(text)]))
    near = [line for line in pydoc.plain(text).splitlines() if "from_pretrained(" in line or "defined here" in line]
    print(json.dumps([value.__name__, near]))
    print(json.dumps([value.__name__, told(pydoc.render_doc(value.from_pretrained))]))
    print(json.dumps([value.__name__, told(pydoc.HTMLDoc().document(value))]))
with contextlib.redirect_stdout(io.StringIO()) as shown:
    help(AutoModel.from_pretrained)
    help("transformers.models.auto.AutoModel")
    help(hub.cached_file)
print(json.dumps(told(shown.getvalue())))
for name in ("hub", "import_utils"):
    print(json.dumps(told(pydoc.render_doc(f"transformers.utils.{name}"))))
print(json.dumps(told(pydoc.render_doc("transformers.models.auto.modeling_auto"))))
