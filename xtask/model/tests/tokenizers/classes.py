#!/usr/bin/env python3
"""Writes src/tokenizer_classes.toml: what each tokenizer class of transformers does when it is loaded beside a tokenizer.json.

usage: classes.py > src/tokenizer_classes.toml

Needs transformers 4.57.6 with tokenizers 0.22.2, sentencepiece, tiktoken and protobuf. Classes are asked for their
defaults by loading each on a tokenizer of one token; their own checks are recognized in the source of `__init__`.
"""
import inspect, json, logging, os, pathlib, sys, tempfile, warnings

os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1")
warnings.simplefilter("ignore")
import transformers
from transformers import AutoConfig, PreTrainedTokenizer, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.tokenization_auto import (
    TOKENIZER_MAPPING, TOKENIZER_MAPPING_NAMES, tokenizer_class_from_name,
)

logging.disable(logging.CRITICAL)
SPECIAL = PreTrainedTokenizerFast.SPECIAL_TOKENS_ATTRIBUTES[:-1]
TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]},
    "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
}


def text(value):
    return json.dumps(value, ensure_ascii=False)


def load(cls, **settings):
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        (path / "tokenizer.json").write_text(json.dumps(TOKENIZER))
        (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": cls.__name__, "added_tokens_decoder": {}, **settings}))
        return cls.from_pretrained(directory)


def methods(cls):
    """Keys of tokenizer_config.json that are refused, as they are the names of methods."""
    return {name for name in dir(cls) if callable(getattr(cls, name, None)) and not name.startswith("__")}


def initializer(cls):
    return next(c.__init__ for c in cls.__mro__ if "__init__" in c.__dict__)


names = {name for pair in TOKENIZER_MAPPING_NAMES.values() for name in pair if name}
names |= {name for name in dir(transformers) if "Tokenizer" in name}
classes = {name: tokenizer_class_from_name(name) for name in sorted(names)}
classes = {name: cls for name, cls in classes.items() if inspect.isclass(cls)}
fast = {name: cls for name, cls in classes.items() if issubclass(cls, PreTrainedTokenizerFast)}
slow = {name: cls for name, cls in classes.items() if issubclass(cls, PreTrainedTokenizer) and name + "Fast" not in fast}
common = methods(PreTrainedTokenizerFast)

print(f"# Made by tests/tokenizers/classes.py of transformers {transformers.__version__}: do not edit.")
print(f"\n# Keys of tokenizer_config.json that no class takes: names of its methods.\nmethods = {text(sorted(common))}")
for name, cls in fast.items():
    init = initializer(cls)
    source, parameters = inspect.getsource(init), inspect.signature(init).parameters
    defaults = {key: parameters[key].default for key in SPECIAL if key in parameters and parameters[key].default}
    print(f"\n[fast.{name}]")
    if defaults:
        print(f"tokens = {{ {', '.join(f'{key} = {text(value)}' for key, value in defaults.items())} }}")
    if "pad_token" in parameters:
        print("pads = true")
    if cls.slow_tokenizer_class:
        print(f"slow = {text(cls.slow_tokenizer_class.__name__)}")
        files = set(cls.slow_tokenizer_class.vocab_files_names.values()) - {"tokenizer.json", "tokenizer_config.json"}
        print(f"files = {text(sorted(files))}")
    if list(parameters)[1] == "args" or "vocab_file" not in cls.vocab_files_names:
        print("variadic = true")
    if own := sorted(methods(cls) - common):
        print(f"methods = {text(own)}")
    if "add_bos_token" in parameters:
        print(f"add_bos_token = {text(parameters['add_bos_token'].default)}")
    checks = []
    if "update_post_processor()" in source:
        checks.append("post-processor")
    if ".normalizer.__getstate__" in source:
        checks.append("normalizer")
    if "pre_tokenizer, pre_tokenizers.Sequence" in source:
        checks.append("clip")
    if 'kwargs.pop("add_bos_token", False):' in source:
        checks.append("no-bos")
    if 'if add_prefix_space is not None' in source:
        checks.append("prefix-from-slow")
    if "extra_ids" in parameters:
        checks.append("extra-ids")
    if "offset" in parameters:
        checks.append("offset")
    if "self.lang_code_to_id[self._src_lang]" in source:
        checks.append("language")
    if checks:
        print(f"checks = {text(checks)}")
    if "clip" in checks:
        continue
    try:
        tokenizer = load(cls)
    except Exception as error:
        print(f"# {type(error).__name__}: {str(error).splitlines()[0].split(" See http")[0][:100]}")
        missing = [key for key, it in parameters.items() if it.default is it.empty and key not in ("self", "vocab_file", "merges_file", "kwargs", "args")]
        print(f"needs = {text(missing)}" if missing else "loads = false")
        continue
    assert tokenizer.special_tokens_map.items() >= {k: v for k, v in defaults.items()}.items(), name
    assert set(tokenizer.special_tokens_map) <= set(defaults) | {"additional_special_tokens"}, name
    if additional := tokenizer.additional_special_tokens:
        kept = []
        for given in ({"additional_special_tokens": []}, {"additional_special_tokens": None}):
            try:
                kept.append(load(cls, **given).additional_special_tokens == additional)
            except Exception:
                kept.append(None)
        # Keys whose tokens are among them.
        keys = {k: it.default for k, it in parameters.items() if k not in SPECIAL and k.endswith("_token") or k == "mask_token_sent"}
        keys = {key: token for key, token in keys.items() if token in additional}
        additional = [token for token in additional if token not in keys.values()]
        if keys:
            print(f"additional_keys = {{ {', '.join(f'{key} = {text(token)}' for key, token in keys.items())} }}")
        if "extra-ids" not in checks and "offset" not in checks and additional:
            print(f"additional = {text(additional)}")
        # What becomes of them with a list in the configuration, and with null.
        print(f"additional_with = {text(['refused' if it is None else 'kept' if it else 'replaced' for it in kept])}")

print("\n# Classes in Python alone, with their files: most do not load where none of these is; those of an empty list do.\n[slow]")
for name, cls in slow.items():
    files = sorted({file for file in cls.vocab_files_names.values() if file not in ("tokenizer.json", "tokenizer_config.json")})
    try:
        load(cls)
        assert not files, name
    except Exception:
        assert files, name
    print(f"{name} = {text(files)}")

print("\n# The class where no `tokenizer_class` is named, by `model_type` of config.json; none for models without text.\n[models]")
for model_type in sorted(CONFIG_MAPPING):
    try:
        config = CONFIG_MAPPING[model_type]()
    except Exception:
        config = CONFIG_MAPPING[model_type]
    name = getattr(config, "tokenizer_class", None)
    if name is not None:
        name = name + "Fast" if name + "Fast" in fast else name
    else:
        try:
            one, other = TOKENIZER_MAPPING[config if inspect.isclass(config) else type(config)]
            name = getattr(other or one, "__name__", "")
        except KeyError:
            name = ""
    print(f"{text(model_type)} = {text(name)}")
