"""Compares what the reference makes of its own presets, and of configurations that were changed in one value.

usage: MLC_LLM=CHECKOUT/python python configurations.py WORK [--every N] [--convert N] [--sample N FIXTURE]

Writes WORK/configurations.json: for every N-th change of each golden checkpoint's config.json, and for every preset, what the
reference gives, as a digest, or that it refuses. Then
    MODEL_CONFIGURATIONS=WORK/configurations.json cargo test -p model --test reference -- --nocapture
compares, and prints the counts. Each is tried with `chat-config`; with `convert` (about a second each), every N-th.
--sample writes every N-th into FIXTURE, which the test reads where no other file is named; what docs/models.md says to differ
is then taken out of it.
"""
import argparse, json, os, subprocess, sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# One checkpoint for each architecture.
BASES = ["llama-gqa-bf16", "mistral-bf16", "mistral-swa-f16", "mixtral-bf16", "qwen1-bf16", "qwen2-tied-bf16", "qwen2moe-bf16",
         "qwen3-tied-bf16", "qwen3moe-bf16", "gemma-bf16", "gemma2-bf16", "gemma3-text-bf16", "nested gemma3-text-bf16",
         "phi-f16", "phi-msft-f16", "mixformer-f16", "phi3-bf16", "gpt2-f32", "gpt-neox-f16", "gpt-bigcode-f32",
         "starcoder2-f32", "stablelm-f16", "internlm-f16", "internlm2-bf16", "baichuan-bf16", "chatglm-f16", "cohere-f16",
         "olmo-f32", "olmo2-bf16", "minicpm-bf16", "minicpm-moe-bf16", "nemotron-bf16", "orion-bf16", "deepseek-bf16",
         "bert-f32", "bert-bge-f32"]
ABSENT = "<absent>"
# Keys that a base may lack, with values to give them.
MORE = {
    "hidden_act": ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "quick_gelu", ""],
    "hidden_activation": ["gelu", "gelu_pytorch_tanh", "relu", "silu", None],
    "rope_scaling": [None, {}, {"type": "linear", "factor": 2.0}, {"rope_type": "linear", "factor": 2.0},
                     {"rope_type": "dynamic", "factor": 2.0}, {"rope_type": "yarn", "factor": 4.0},
                     {"rope_type": "default"}, {"rope_type": None}, {"type": "su", "short_factor": [1.0], "long_factor": [1.0]},
                     {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}, {"type": "longrope"}, {"type": "yarn"},
                     {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 8192}, "linear", 2, True, []],
    "sliding_window": [None, 0, -1, 16, 64, 4096, 10000, ABSENT], "sliding_window_size": [None, 0, -1, 16, 4096],
    "head_dim": [None, 0, 8, 16, 24, 32, 16.0, -16, "16"], "num_key_value_heads": [None, 0, 1, 2, 3, 4, 8, -1, ABSENT],
    "tie_word_embeddings": [True, False, None], "attention_bias": [True, False, None, 0],
    "rope_theta": [None, 0, 10000, 500000.0, 1e6, "10000", ABSENT], "position_embedding_base": [None, 0, 10000, 1000000, 20000.5],
    "max_position_embeddings": [None, 0, 1, 128, 8192, 10000, 131072, 2048.0, "2048", True, ABSENT],
    "max_sequence_length": [None, 0, 512], "context_window_size": [None, 0, -1, 16, 9000, 2048.0, "64"],
    "prefill_chunk_size": [None, 0, -1, 16, 100000, 64.0], "tensor_parallel_shards": [None, 0, 1, 2, 3, "1"],
    "pipeline_parallel_stages": [None, 0, 1, 2, 3, 9], "max_batch_size": [None, 4], "attention_sink_size": [None, 0, -1, 8],
    "vocab_size": [None, 1, 10, 128.0, "300", ABSENT], "dtype": ["bfloat16", None], "torch_dtype": ["float64", None],
    "partial_rotary_factor": [None, 0.25, 1, "x", ABSENT], "quantization_config": [None, {"quant_method": "gptq", "bits": 4}],
    "query_pre_attn_scalar": [None, 0, 64, ABSENT], "clip_qkv": [None, 0, -1.0, 8.0], "type_vocab_size": [1, 2, 3],
    "weight_block_size": [None, [128, 128]], "decoder_sparse_step": [None, 0, 1, 2, ABSENT], "num_experts": [None, 0, 1, 2, 4, ABSENT],
    "ffn_out_dtype": ["float16", "float32", "bfloat16", "int8", None], "n_inner": [None, -1, 0, 64, ABSENT],
    "disaggregation": [True], "text_config": [None, {}, 3, ABSENT], "model_type": [None],
}
OPTIONS = [{"context_window_size": 16}, {"context_window_size": 100000}, {"context_window_size": -1},
           {"sliding_window_size": 64}, {"sliding_window_size": -1}, {"prefill_chunk_size": 16},
           {"prefill_chunk_size": 100000}, {"attention_sink_size": 0}, {"attention_sink_size": -1},
           {"tensor_parallel_shards": 2}, {"tensor_parallel_shards": 3}, {"pipeline_parallel_stages": 2},
           {"pipeline_parallel_stages": 9}, {"pipeline_parallel_stages": 0},
           {"context_window_size": -1, "sliding_window_size": 32}]


def values(key, value):
    yield from (ABSENT, None)
    if isinstance(value, bool):
        yield from (not value, int(value), "true")
    elif isinstance(value, (int, float)):
        yield from (0, -1, 1, 2 * value, value + 1, str(value), True)
        yield float(value) if isinstance(value, int) else int(value) or 1
        if isinstance(value, int) and value % 2 == 0:
            yield value // 2
    elif isinstance(value, str):
        yield from ("other", "", 0)
    yield from MORE.get(key, [])


def changes(config):
    """One value at a time, of the configuration and of the text model's inside."""
    for path, inside in [([], config)] + ([(["text_config"], config["text_config"])] if "text_config" in config else []):
        for key in list(inside) + [key for key in MORE if key not in inside]:
            if key in ("architectures", "model_type", "_name_or_path", "transformers_version"):
                continue
            seen = [inside.get(key, ABSENT)]
            for value in values(key, inside[key]) if key in inside else MORE[key]:
                if not any(type(value) is type(old) and value == old for old in seen):
                    seen.append(value)
                    yield {"path": path + [key], "value": value}


def presets():
    names = {}
    exec((Path(os.environ["MLC_LLM"]) / "mlc_llm/model/model_preset.py").read_text(), names)
    return names["MODEL_PRESETS"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--convert", type=int, default=4)
    parser.add_argument("--sample", nargs=2)
    arguments = parser.parse_args()
    models = arguments.work / "models"
    if not models.exists():
        for generator in ("make_models.py", "make_more_models.py"):
            subprocess.run([sys.executable, HERE.parent / "golden" / generator, models], check=True)
    rows, jobs, count = [], [], 0
    for base in BASES:
        config = json.loads((models / base.split()[-1] / "config.json").read_text())
        if base.startswith("nested"):
            # As the models that also see have it. Their tensors have other names: these are not converted.
            config = {"model_type": "gemma3", "text_config": config, "vocab_size": config["vocab_size"]}
        tried = list(changes(config)) + [{"options": options} for options in OPTIONS]
        # Another part of the changes for each base.
        tried = [{}] + tried[len(rows) % arguments.every::arguments.every]
        for change in tried:
            commands = ["chat-config"]
            if "options" not in change:
                count += 1
                if (count % arguments.convert == 0 or not change) and not base.startswith("nested"):
                    commands.append("convert")
            directory = arguments.work / "changed" / f"{len(rows)}"
            directory.mkdir(parents=True, exist_ok=True)
            changed = json.loads(json.dumps(config))
            if "path" in change:
                *outer, key = change["path"]
                inside = changed
                for name in outer:
                    inside = inside[name]
                if change["value"] == ABSENT:
                    inside.pop(key, None)
                else:
                    inside[key] = change["value"]
            (directory / "config.json").write_text(json.dumps(changed))
            for file in (models / base.split()[-1]).glob("*.safetensors*"):
                if not (directory / file.name).exists():
                    (directory / file.name).symlink_to(file.resolve())
            row = {"base": base, **change, "commands": commands}
            rows.append(row)
            for command in commands:
                jobs.append({"command": command, "directory": str(directory.resolve()), "quantization": "q0f16",
                             "overrides": change.get("options", {})})
    for name, config in presets().items():
        directory = arguments.work / "changed" / f"{len(rows)}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(config))
        rows.append({"base": f"preset {name}", "config": config, "commands": ["chat-config"]})
        jobs.append({"command": "chat-config", "directory": str(directory.resolve()), "quantization": "q0f16", "overrides": {}})
    results = arguments.work / "results"
    written = arguments.work / "jobs.json"
    if not written.exists() or written.read_text() != json.dumps(jobs):
        results.unlink(missing_ok=True)
        written.write_text(json.dumps(jobs))
    print(f"{len(rows)} configurations, {len(jobs)} runs of the reference", flush=True)
    results.touch()
    done = lambda: len(results.read_text().splitlines())
    while done() < len(jobs):
        command = [sys.executable, HERE / "run.py", arguments.work / "jobs.json", results]
        code = subprocess.run(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).returncode
        if code and done() < len(jobs):
            with results.open("a") as file:
                file.write(json.dumps({"refused": f"the reference crashed ({code})"}) + "\n")
        print(f"{done()} of {len(jobs)}", flush=True)
    results = iter([json.loads(line) for line in results.read_text().splitlines()])
    for row in rows:
        for command in row.pop("commands"):
            row[command] = next(results)
    (arguments.work / "configurations.json").write_text(json.dumps(rows))
    if arguments.sample:
        step, fixture = arguments.sample
        small = [dict(row) for number, row in enumerate(rows) if number % int(step) == 0]
        for row in small:
            for command in ("chat-config", "convert"):
                if isinstance(row.get(command), dict):
                    row[command] = "refused"
        Path(fixture).write_text("[\n" + ",\n".join(json.dumps(row) for row in small) + "\n]\n")


main()
