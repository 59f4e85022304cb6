"""Writes a GGUF as a Hugging Face folder. usage: gguf_to_folder.py MODEL.gguf FOLDER f32|bf16

Needs: pip install torch transformers gguf
"""
import functools
import json
import os
import sys

import gguf
import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    path, folder, weights = sys.argv[1:]
    # transformers makes the one anew for each thing that it needs of a file, the other for each of the model's modules.
    gguf.GGUFReader = functools.cache(gguf.GGUFReader)
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)
    where, name = os.path.split(os.path.abspath(path))
    model = AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
    if splits_digits(path):
        restore_digits(tokenizer)
    model.hf_quantizer = None  # the weights are no longer quantized
    del model.config.quantization_config
    model.to(torch.bfloat16 if weights == "bf16" else torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    repeat_rope_theta(os.path.join(folder, "config.json"))


def repeat_rope_theta(path):
    """mlx-lm looks for it where transformers wrote it before version 5."""
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    theta = (config.get("rope_parameters") or {}).get("rope_theta")
    if theta is not None:
        config["rope_theta"] = theta
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)


def splits_digits(path):
    field = gguf.GGUFReader(os.path.abspath(path)).get_field("tokenizer.ggml.pre")
    return field is not None and field.contents() == "smollm"


def restore_digits(tokenizer):
    """transformers' import drops SmolLM's split of numbers into digits."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])


if __name__ == "__main__":
    main()
