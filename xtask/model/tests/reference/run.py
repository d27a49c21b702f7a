"""Runs mlc-llm's own Python on jobs, without torch and its C++ library.

usage: MLC_LLM=CHECKOUT/python python run.py JOBS.json RESULTS

needs: apache-tvm 0.26.0, ml_dtypes, numpy, pydantic, tqdm. JOBS.json is a list of {"command": "convert" or "chat-config",
"directory", "quantization", "overrides"}; RESULTS gets for each a line with the SHA-256 of tensor-cache.json, which has
the MD5 of every shard, or of mlc-chat-config.json, or {"refused": why}. Jobs that have a line are left out: the reference
crashes on some, which the caller writes down before it starts again. Directories hold no tokenizer. What is replaced:
the readers of safetensors (by ones that give NumPy's arrays), and the tokenizers' C++ (which has nothing to look at). The
forward graphs of mixtures of experts do not pass TVM 0.26's own check, which is left out for them: weights do not depend on it.
"""
import contextlib, dataclasses, hashlib, io, json, logging, os, sys, tempfile, types
from pathlib import Path

os.environ["SKIP_LOADING_MLCLLM_SO"] = "1"
ROOT = Path(os.environ["MLC_LLM"]).resolve()
sys.path.insert(0, str(ROOT))
package = types.ModuleType("mlc_llm")
package.__path__ = [str(ROOT / "mlc_llm")]
sys.modules["mlc_llm"] = package

import ml_dtypes
import numpy as np
import tvm
import tvm.relax.analysis

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16, "I64": np.int64,
          "I32": np.int32, "U8": np.uint8, "BOOL": np.bool_, "F8_E4M3": ml_dtypes.float8_e4m3fn}


@dataclasses.dataclass
class TokenizerInfo:
    token_postproc_method: str = "byte_fallback"
    prepend_space_in_encode: bool = False
    strip_space_in_decode: bool = False


class Tokenizer:
    @staticmethod
    def detect_tokenizer_info(_):
        return TokenizerInfo()


def read(path):
    raw = Path(path).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    for name, info in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, _ = info["data_offsets"]
        count = int(np.prod(info["shape"], dtype=np.int64))
        yield name, np.frombuffer(raw, DTYPES[info["dtype"]], count, 8 + size + start).reshape(info["shape"])


def index(directory):
    """The index, as the reference makes it, but never in the checkpoint."""
    path = directory / "model.safetensors.index.json"
    if path.exists():
        return path
    file = directory / "model.safetensors"
    if not file.exists():
        return None
    scratch = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    (scratch / file.name).symlink_to(file.resolve())
    (scratch / path.name).write_text(json.dumps({"weight_map": {name: file.name for name, _ in read(file)}}))
    return scratch / path.name


def prepare():
    tokenizers = types.ModuleType("mlc_llm.tokenizers")
    tokenizers.Tokenizer, tokenizers.TokenizerInfo, tokenizers.__path__ = Tokenizer, TokenizerInfo, []
    sys.modules["mlc_llm.tokenizers"] = tokenizers
    import mlc_llm.loader.huggingface_loader as loader
    import mlc_llm.loader.utils as utils
    import mlc_llm.support.auto_weight as weight
    utils.load_safetensor_shard = loader.load_safetensor_shard = read
    weight._check_safetensor = weight.CHECK_FORMAT_METHODS["huggingface-safetensor"] = index


MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "deepseek", "deepseek_v2", "deepseek_v3", "minicpm")
WELL_FORMED = tvm.relax.analysis.well_formed


def run(job, out):
    from mlc_llm.quantization import QUANTIZATION
    from mlc_llm.support.auto_config import detect_config, detect_model_type
    config = detect_config(job["directory"])
    model = detect_model_type("auto", config)
    tvm.relax.analysis.well_formed = (lambda *_: None) if model.name in MIXTURES else WELL_FORMED
    scheme = QUANTIZATION[job["quantization"]]
    if job["command"] == "convert":
        from mlc_llm.interface.convert_weight import convert_weight
        from mlc_llm.support.auto_weight import detect_weight
        source, kind = detect_weight(config.parent, config, "auto")
        convert_weight(config=config, quantization=scheme, model=model, device=tvm.cpu(), source=source,
                       source_format=kind, output=out)
        return out / "tensor-cache.json"
    from mlc_llm.interface.gen_config import gen_config
    names = ["context_window_size", "sliding_window_size", "prefill_chunk_size", "attention_sink_size",
             "tensor_parallel_shards", "pipeline_parallel_stages", "disaggregation"]
    sizes = {name: job["overrides"].get(name) for name in names}
    gen_config(config=config, model=model, quantization=scheme, conv_template="LM", output=out, max_batch_size=128,
               **sizes)
    return out / "mlc-chat-config.json"


def main():
    prepare()
    logging.disable(logging.CRITICAL)
    jobs, results = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    done = len(results.read_text().splitlines()) if results.exists() else 0
    for job in jobs[done:]:
        quiet = io.StringIO()
        with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            try:
                result = hashlib.sha256(run(job, Path(out)).read_bytes()).hexdigest()
            except Exception as error:
                result = {"refused": f"{type(error).__name__}: {error}"[:300]}
        with results.open("a") as file:
            file.write(json.dumps(result) + "\n")


main()
