"""What can turn data into code, found in a module's syntax: pickles, evaluation, imports by computed name, shells."""

from __future__ import annotations

import ast
from collections.abc import Iterator

PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "jsonpickle"}
CALLS = {
    "eval": "evaluates text",
    "exec": "runs text",
    "compile": "compiles text",
    "__import__": "imports by name",
    "execfile": "runs a file",
    "builtins.eval": "evaluates text",
    "builtins.exec": "runs text",
    "torch.load": "unpickles",
    "torch.save": "pickles",
    "torch.hub.load": "runs code of a repository",
    "torch.jit.load": "runs code of an archive",
    "joblib.load": "unpickles",
    "pandas.read_pickle": "unpickles",
    "pd.read_pickle": "unpickles",
    "yaml.unsafe_load": "builds any object",
    "yaml.full_load": "builds any object",
    "yaml.load_all": "builds any object",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "asyncio.create_subprocess_shell": "runs a shell",
    "tempfile.mktemp": "names a file that another may make first",
    "runpy.run_path": "runs a file",
    "runpy.run_module": "runs a module",
}
BY_NAME = {
    "importlib.import_module",
    "import_module",
    "importlib.util.spec_from_file_location",
    "spec_from_file_location",
    "pkgutil.resolve_name",
}
FOLDERS = {
    f"{kind}.from_pretrained"
    for kind in ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification",
                 "AutoTokenizer", "AutoProcessor")
}  # fmt: skip
TEMPLATES = {"jinja2.Environment", "Environment", "jinja2.Template", "Template"}


def findings(source: str) -> Iterator[tuple[int, str]]:
    """Line and description of everything in a module that could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, f"import {one.name}") for one in node.names if _top(one.name) in PICKLES)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if _top(node.module) in PICKLES:
                yield node.lineno, f"import {node.module}"
            for one in node.names:
                if f"{node.module}.{one.name}" in CALLS:
                    yield node.lineno, f"import {node.module}.{one.name}"
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _of_call(node))
        elif isinstance(node, ast.FunctionDef) and node.name in ("__reduce__", "__reduce_ex__", "__setstate__"):
            yield node.lineno, node.name


def _of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in CALLS:
        yield name
    if name == "yaml.load" and given.get("Loader") not in ("StrictLoader", "yaml.SafeLoader"):
        yield "yaml.load"
    if name in BY_NAME and not (call.args and isinstance(call.args[0], ast.Constant)):
        yield name
    if given.get("allow_pickle", "False") != "False":
        yield "allow_pickle"
    if given.get("weights_only", "True") != "True":
        yield "weights_only"
    if given.get("trust_remote_code", "False") != "False":
        yield "trust_remote_code"
    if given.get("shell", "False") != "False":
        yield "shell"
    # Where it is left out, transformers asks whoever sits at the terminal whether to run the code.
    if name in FOLDERS and given.get("trust_remote_code") != "False":
        yield f"{name} without trust_remote_code=False"
    if name in FOLDERS and "Model" in name and given.get("use_safetensors") != "True":
        yield f"{name} without use_safetensors=True"
    if name in TEMPLATES and given.get("autoescape") != "True":
        yield f"{name} without autoescape=True"


def _top(name: str) -> str:
    return name.partition(".")[0]
