#!/usr/bin/env python3
"""Generates directories with tokenizers, and asks transformers how many tokens each has.

usage: count.py N [SEED] > cases.json
       COUNTS=cases.json cargo test -p model --test tokenizer_counts

Needs transformers 4.57.6 with tokenizers 0.22.2, sentencepiece, tiktoken and protobuf. Prints cases: the files by
their names (JSON, or text that is none; `plain` is a tokenizer that stands beside the cases), and the number of tokens, null where the library does not load the tokenizer, with the reason.
The first cases go through every class; those after them are random. `counts.json` was made with N = 60 beside those.
"""
import json, logging, os, pathlib, random, shutil, sys, tempfile, tomllib, warnings

os.environ.update(TRANSFORMERS_VERBOSITY="critical", HF_HUB_OFFLINE="1")
warnings.simplefilter("ignore")
sys.stdin.close()
here = pathlib.Path(__file__).resolve().parent
classes = tomllib.loads((here / "../../src/tokenizer_classes.toml").read_text())
SPECIAL = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"]
MAIN = ["LlamaTokenizer", "LlamaTokenizerFast", "PreTrainedTokenizerFast", "PreTrainedTokenizer", "GPT2Tokenizer", "GemmaTokenizer",
        "GemmaTokenizerFast", "Qwen2Tokenizer", "GPTNeoXTokenizer", "CohereTokenizer", "CodeGenTokenizer", "BertTokenizer", "CodeLlamaTokenizer"]
STRANGE = ["TokenizersBackend", "QWenTokenizer", "Qwen2TokenizerFastFast", "", "AutoTokenizer", "LlamaConfig", "TikTokenTokenizer", 7]
POOL = ["<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "<bos>",
        "<eos>", "<mask>", "a", "b", "zz", "é", "new token", "a:b", "$A", "", "None", "<extra_id_0>", "<extra_id_1>", "▁<PRE>", "<mask_1>", "en_XX"]
VOCABULARY = ["a", "b", "c", "ab", "<s>", "</s>", "<unk>", "<0x09>", "\u2581"]


def flags(r, content):
    token = {"content": content}
    for flag in ("lstrip", "normalized", "rstrip", "single_word", "special"):
        token[flag] = r.random() < 0.3
    return token


def model(r):
    words = VOCABULARY[: r.randint(4, len(VOCABULARY))]
    kind = r.choice(["BPE"] * 4 + ["WordLevel", "WordPiece", "Unigram"])
    vocabulary = {word: number for number, word in enumerate(words)}
    if kind == "BPE":
        return {"type": kind, "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                "fuse_unk": False, "byte_fallback": True, "ignore_merges": False, "vocab": vocabulary, "merges": r.choice([["a b"], [["a", "b"]], []])}
    if kind == "WordLevel":
        return {"type": kind, "vocab": vocabulary, "unk_token": "a"}
    if kind == "WordPiece":
        return {"type": kind, "unk_token": "a", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary}
    return {"type": kind, "unk_id": 0, "vocab": [[word, -float(number)] for number, word in enumerate(words)], "byte_fallback": False}


def tokenizer(r):
    made = model(r)
    first = len(made["vocab"])
    added = [{"id": first + n, **flags(r, content)} for n, content in enumerate(r.sample(POOL[:18], r.randint(0, 5)))]
    bert = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": r.random() < 0.5}
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<padded>"}
    result = {
        "version": "1.0", "truncation": None, "padding": padding if r.random() < 0.15 else None, "added_tokens": added,
        "normalizer": r.choice([None, bert, bert, {"type": "NFC"}, {"type": "Sequence", "normalizers": [bert]}]),
        "pre_tokenizer": r.choice([None, {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]),
        "post_processor": r.choice([None, None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}]),
        "decoder": r.choice([None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}]), "model": made,
    }
    if r.random() < 0.08:
        r.choice([
            lambda t: t.pop("added_tokens"), lambda t: t.update(version="2.0"), lambda t: t.update(extra=1), lambda t: t["model"].pop("vocab"),
            lambda t: t["model"].update(merges=["a zz"]), lambda t: t["model"].update(type="Other"), lambda t: t.update(normalizer={"type": "Other"}),
            lambda t: [token.pop("special") for token in t["added_tokens"]], lambda t: t.pop("normalizer"), lambda t: t.update(padding={}),
            lambda t: t["added_tokens"].append(3),
        ])(result)
    return result


def special(r, legacy=False):
    content = r.choice(POOL)
    value = r.choice([content] * 4 + [None, {"__type": "AddedToken", **flags(r, content)}, flags(r, content) if legacy else content])
    if r.random() < 0.03:
        value = r.choice([5, True, ["<s>"], {"content": "<s>"}, {"__type": "AddedToken", "content": 4}, {"__type": "AddedToken"}])
    return value


def listed(r, legacy=False):
    value = [special(r, legacy) for _ in range(r.randint(0, 3))]
    value = [it for it in value if it is not None or r.random() < 0.1]
    return value if r.random() < 0.93 else r.choice([None, "<s>", {}, 4])


def settings(r):
    result = {}
    for name in SPECIAL:
        if r.random() < 0.35:
            result[name] = special(r)
    if r.random() < 0.3:
        result["additional_special_tokens"] = listed(r)
    if r.random() < 0.15:
        extra = {name: special(r) or "x" for name in r.sample(["image_token", "bos_token", "boi_token"], r.randint(0, 2))}
        result["extra_special_tokens"] = r.choice([extra] * 5 + [[], ["<x>"], None, {"a": None}])
    if r.random() < 0.35:
        decoder = {str(r.choice([n, n, n + 5, 0])): flags(r, r.choice(POOL)) for n in range(4, 4 + r.randint(0, 4))}
        if r.random() < 0.1:
            decoder = r.choice([None, [], {"x": flags(r, "a")}, {" 7_0 ": flags(r, "seventy")}, {"9": "text"}, {"07": flags(r, "one"), "7": flags(r, "two")},
                                {"8": {"content": "q", "special": 1}}, {"8": {"special": True}}, {"8": {"content": "q", "id": 3, "__type": "AddedToken"}}])
        result["added_tokens_decoder"] = decoder
    odd = {
        "add_bos_token": [True, False, None], "add_eos_token": [True, False], "legacy": [True, False], "add_prefix_space": [True, False, None],
        "from_slow": [True, False], "tokenizer_file": [None, "/nowhere/tokenizer.json"], "padding_side": ["left", "right", "up", None],
        "truncation_side": ["left", ""], "init_inputs": [[], ["x"]], "model_max_length": [2048, 1000000000000000019884624838656],
        "chat_template": ["{{ x }}", [{"name": "default", "template": "x"}], [{"name": "default"}]], "clean_up_tokenization_spaces": [False],
        "sp_model_kwargs": [{}], "special_tokens_map_file": [None], "name_or_path": ["x"], "tokenize_chinese_chars": [False], "do_lower_case": [True],
        "use_default_system_prompt": [False], "fast_tokenizer_files": [["tokenizer.json"]], "extra_ids": [0, 1, 2], "offset": [3], "eot_token": [None, "<EOT>"],
        "add_special_tokens": [True], "pad": [1], "encode": ["x"], "slow_tokenizer_class": ["x"], "vocab_size": [5], "vocab": [1], "self": [1],
        "update_post_processor": [1], "src_lang": ["en_XX", "qq"], "question_token": ["[Q]"], "tokenizer_object": [{}, None], "tags_dict": [{}],
        "processor_class": ["X"], "model_input_names": [["input_ids"]], "split_special_tokens": [False, True],
    }
    for key in r.sample(sorted(odd), r.choice([0, 0, 1, 1, 2, 3])):
        result[key] = r.choice(odd[key])
    if r.random() < 0.08:
        result["auto_map"] = r.choice([{"AutoTokenizer": ["own.Tokenizer", None]}, {"AutoTokenizer": [None, "own.Fast"]}, {"AutoConfig": "own.Config"}, ["own.Tokenizer", "own.Fast"],
                                       {"AutoTokenizer": [None, None]}, {"AutoTokenizer": ["own.Tokenizer"]}, "own.Tokenizer", None, {"AutoTokenizer": None}])
    return result


def named(r):
    everyone = list(classes["fast"]) + [name.removesuffix("Fast") for name in classes["fast"]] + list(classes["slow"])
    return r.choice([r.choice(MAIN)] * 6 + [r.choice(everyone)] * 3 + [r.choice(STRANGE)])


def case(r):
    config = {"model_type": r.choice(["llama"] * 3 + ["gpt2", "qwen2", "gemma", "mt5", "granite", "bert", "phi", "minicpm", "chatglm", "dinov2", "mistral"])}
    if r.random() < 0.05:
        config["tokenizer_class"] = named(r)
    if r.random() < 0.05:
        config["auto_map"] = r.choice([{"AutoConfig": "own.Config"}, {"AutoTokenizer": ["own.Tokenizer", None]}])
    files = {"config.json": config, "tokenizer.json": tokenizer(r)}
    if r.random() < 0.93:
        files["tokenizer_config.json"] = settings(r)
        if r.random() < 0.85:
            files["tokenizer_config.json"]["tokenizer_class"] = named(r)
    if r.random() < 0.3:
        names = r.sample(SPECIAL, r.randint(0, 4))
        files["special_tokens_map.json"] = {name: special(r, True) for name in names}
        if r.random() < 0.5:
            files["special_tokens_map.json"]["additional_special_tokens"] = listed(r, True)
    if r.random() < 0.25:
        files["added_tokens.json"] = {content: r.choice([4, 6, 9, 10, 11, 300]) for content in r.sample(POOL, r.randint(0, 3))}
        if r.random() < 0.1:
            files["added_tokens.json"]["q"] = r.choice(["7", None, 7.0, 7.5, True])
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        if name in files and r.random() < 0.03:
            files[name] = r.choice(["not JSON", "[]", "3", "null", "{\"a\": NaN}"])
    if r.random() < 0.1:
        files["vocab.json"] = {"a": 0, "b": 1, "<x>": 2}
        files["merges.txt"] = "#version: 0.2\n"
    if r.random() < 0.2:
        files["tokenizer.model"] = "llama.model"
    return files


def plain():
    r = random.Random(1)
    return {**tokenizer(r), "padding": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]}, "decoder": None, "post_processor": None,
             "normalizer": {"type": "NFC"}, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
             "added_tokens": [{"id": 3, **flags(r, "<s>")}, {"id": 4, **flags(r, "<|im_end|>")}]}


def systematic():
    """Every class by itself, with null for every special token, and with tokens of its own."""
    for name in list(classes["fast"]) + list(classes["slow"]) + STRANGE:
        nulls = {key: None for key in [*SPECIAL, "additional_special_tokens"]}
        own = {"eos_token": "<|im_end|>", "pad_token": {"__type": "AddedToken", "content": "<pad>"}, "additional_special_tokens": ["<x>"]}
        for extra in ({}, nulls, own):
            yield {"config.json": {"model_type": "llama"}, "tokenizer.json": "plain", "tokenizer_config.json": {"tokenizer_class": name, **extra}}
    for model_type in ["llama", "qwen2", "gemma", "gpt2", "gpt_neox", "phi", "phi3", "bert", "cohere", "nemotron", "granite", "mt5", "minicpm", "dinov2", None]:
        yield {"config.json": {"model_type": model_type} if model_type else {}, "tokenizer.json": "plain"}


def count(files):
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="t") as directory:
        for name, content in files.items():
            path = pathlib.Path(directory, name)
            if name == "tokenizer.model":
                shutil.copy(here / content, path)
            elif content == "plain":
                path.write_text(json.dumps(plain()))
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content))
        try:
            return len(AutoTokenizer.from_pretrained(directory, use_fast=True)), None
        except BaseException as error:
            return None, f"{type(error).__name__}: {error}".split(" See http")[0][:200]


def main():
    import transformers

    logging.disable(logging.CRITICAL)
    n, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    r = random.Random(seed)
    # The library prints to the file descriptor.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    cases = []
    for files in [*systematic(), *(case(r) for _ in range(n))]:
        tokens, reason = count(json.loads(json.dumps(files)))
        cases.append({"files": files, "tokens": tokens, "reason": reason})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    print(f'{{"plain": {json.dumps(plain())}, "cases": [\n{lines}\n]}}', file=out)


main()
