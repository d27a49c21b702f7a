"""Merges LoRA adapters into checkpoints as the reference does (`_merge_lora_adapter_with_base_model` of its converter).

usage: python merge.py CHECKPOINT MERGED ADAPTER… [--shard BYTES]

needs: torch, transformers 4.57, peft 0.19. MERGED is what run.py then converts. Several adapters are merged one after the
other, each into what was saved of the one before. `--shard` is `max_shard_size` of `save_pretrained`, 5 GB if absent.
"""
import sys, tempfile
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

words = sys.argv[1:]
options = {"max_shard_size": int(words[-1])} if "--shard" in words else {}
checkpoint, merged, *adapters = words[:words.index("--shard")] if options else words
for position, adapter in enumerate(adapters):
    last = position + 1 == len(adapters)
    target = merged if last else tempfile.mkdtemp()
    model = AutoModelForCausalLM.from_pretrained(checkpoint, torch_dtype="auto", trust_remote_code=False, low_cpu_mem_usage=True)
    model = PeftModel.from_pretrained(model, adapter, is_trainable=False).merge_and_unload()
    model.save_pretrained(target, safe_serialization=True, **(options if last else {}))
    checkpoint = target
