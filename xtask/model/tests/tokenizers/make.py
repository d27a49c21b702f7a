"""Trains the SentencePiece models of this directory and records what `transformers` makes of them.

    pip install transformers==4.57.6 tokenizers==0.22.2 sentencepiece==0.2.3 protobuf
    python make.py            # models again (other versions of sentencepiece train other ones), and cases.json
    python make.py cases      # cases.json alone

cases.json: for each name the model, the JSON files beside it, and the SHA-256 of the `tokenizer.json` that
`AutoTokenizer.from_pretrained(DIR, use_fast=True).backend_tokenizer.save(…)` writes, or null where it fails.
"""
import hashlib, json, os, random, shutil, sys, tempfile
import sentencepiece, tokenizers, transformers

HERE = os.path.dirname(os.path.abspath(__file__))
PLAIN = dict(byte_fallback=True, split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
             allow_whitespace_only_pieces=True, minloglevel=2, num_threads=1)
TURNS = ["<mask>", "<start_of_turn>", "<end_of_turn>", "\n", "\n\n", "\t"]
GEMMA = dict(model_type="bpe", add_dummy_prefix=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3)
MODELS = {
    "llama": dict(model_type="bpe", vocab_size=330, character_coverage=0.99),
    "gemma": dict(vocab_size=340, user_defined_symbols=TURNS, **GEMMA),
    "gemma-without-tab": dict(vocab_size=340, user_defined_symbols=TURNS[:5], **GEMMA),
    "unigram": dict(model_type="unigram", vocab_size=320),
}

def train():
    rng = random.Random(1)
    words = "the quick brown fox jumps over a lazy dog and then more words 1234 5678 äöü naïve 東京 мир".split()
    with tempfile.TemporaryDirectory() as place:
        corpus = os.path.join(place, "corpus.txt")
        with open(corpus, "w", encoding="utf-8") as file:
            file.writelines(" ".join(rng.choice(words) for _ in range(12)) + "\n" for _ in range(500))
        for name, options in MODELS.items():
            prefix = os.path.join(place, name)
            sentencepiece.SentencePieceTrainer.train(input=corpus, model_prefix=prefix, **{**PLAIN, **options})
            shutil.copy(prefix + ".model", HERE)

def token(content, typed=False, **flags):
    token = {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, **flags}
    return {"__type": "AddedToken", **token} if typed else token

LLAMA = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
DECODER = {str(number): token(name, special=True) for number, name in enumerate(["<unk>", "<s>", "</s>"])}
NEW = {"330": token("<|endoftext|>", special=True), "331": token("<|user|>", special=True, rstrip=True),
       "332": token("<|word|>", special=False, normalized=True)}
CASES = {
    "llama, nothing beside it": ("llama", {"model_type": "llama"}, {}),
    "llama, legacy": ("llama", {"model_type": "llama"}, {"tokenizer_config": {**LLAMA, "legacy": True}}),
    "llama, not legacy": ("llama", {"model_type": "llama"}, {"tokenizer_config": {**LLAMA, "legacy": False}}),
    "llama, no space before": ("llama", {"model_type": "llama"}, {"tokenizer_config": {**LLAMA, "legacy": False, "add_prefix_space": False}}),
    "llama, an end and no start": ("llama", {"model_type": "llama"}, {"tokenizer_config": {**LLAMA, "add_bos_token": False, "add_eos_token": True}}),
    "llama, tokens as objects": ("llama", {"model_type": "llama"}, {"tokenizer_config": {
        "tokenizer_class": "LlamaTokenizerFast", "bos_token": token("<s>", True, normalized=True), "eos_token": token("</s>", True, normalized=True),
        "unk_token": token("<unk>", True), "pad_token": None}}),
    "mistral, added tokens": ("llama", {"model_type": "mistral"}, {"tokenizer_config": {**LLAMA, "added_tokens_decoder": DECODER, "additional_special_tokens": []}}),
    "phi-3, new tokens": ("llama", {"model_type": "phi3"}, {"tokenizer_config": {
        **LLAMA, "legacy": False, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
        "added_tokens_decoder": {**DECODER, "2": token("</s>", special=False, rstrip=True), **NEW}}}),
    "llama, added_tokens.json": ("llama", {"model_type": "llama"}, {
        "tokenizer_config": LLAMA, "added_tokens": {"<pad>": 330, "<|more|>": 331},
        "special_tokens_map": {"bos_token": token("<s>"), "pad_token": "<pad>", "additional_special_tokens": ["<|more|>", "<|yet|>"]}}),
    "llama, unigrams": ("unigram", {"model_type": "llama"}, {"tokenizer_config": LLAMA}),
    "gemma": ("gemma", {"model_type": "gemma2"}, {"tokenizer_config": {"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}}),
    "gemma, nothing beside it": ("gemma", {"model_type": "gemma3_text"}, {}),
    "gemma, no tab": ("gemma-without-tab", {"model_type": "gemma"}, {"tokenizer_config": {"additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"]}}),
    "no start to add": ("llama", {"model_type": "llama"}, {"tokenizer_config": {**LLAMA, "bos_token": None}}),
    "code of the checkpoint": ("llama", {"model_type": "internlm2"}, {"tokenizer_config": {"tokenizer_class": "InternLM2Tokenizer"}}),
}

def cases():
    found = {}
    for name, (model, config, files) in CASES.items():
        files = {"config": config, **files}
        with tempfile.TemporaryDirectory() as place:
            shutil.copy(os.path.join(HERE, model + ".model"), os.path.join(place, "tokenizer.model"))
            for file, content in files.items():
                with open(os.path.join(place, file + ".json"), "w") as out:
                    json.dump(content, out)
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(place, use_fast=True)
                path = os.path.join(place, "out.json")
                tokenizer.backend_tokenizer.save(path)
                digest = hashlib.sha256(open(path, "rb").read()).hexdigest()
            except Exception:
                digest = None
        found[name] = {"model": model, "files": files, "sha256": digest}
    made = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__,
            "sentencepiece": sentencepiece.__version__}
    with open(os.path.join(HERE, "cases.json"), "w") as out:
        json.dump({"made_by": made, "cases": found}, out, indent=1)
        out.write("\n")

if sys.argv[1:] != ["cases"]:
    train()
cases()
