SEED = 5001
def make_sft(out):
    pass
def read_json(path):
    import json, pathlib
    return json.loads(pathlib.Path(path).read_text())
