"""LoRA or full fine-tuning with PyTorch and PEFT on the CPU: what hone is compared with.

usage: torch_lora.py MODEL TRAIN.jsonl [--dtype bf16|f32] [--compile] [--checkpoint] [--full]
                     [--steps N] [--batch B] [--seq S] [--rank R] [--scale X] [--lr LR] [--threads T] [--lockstep]

MODEL is a .gguf file (dequantized on loading) or a Hugging Face folder. Rows of TRAIN.jsonl hold "messages" or "text".
Samples are laid one after another and cut into batches of exactly B x S tokens with attention across samples, as
`hone train --packing concat` does. Prints the JSON lines of `hone train --json`; with --lockstep it waits, as that does,
for a line on standard input before each step.
Needs: pip install torch transformers peft gguf
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("data")
    p.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    for flag in ("compile", "checkpoint", "full", "lockstep"):
        p.add_argument("--" + flag, action="store_true")
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--seq", type=int, default=256)
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--scale", type=float, default=20.0)
    p.add_argument("--lr", type=float, default=1e-4)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return p.parse_args()


def load(path, dtype):
    if os.path.isdir(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=dtype), AutoTokenizer.from_pretrained(path)
    folder, name = os.path.split(os.path.abspath(path))
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).to(dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    # The import of GGUF tokenizers drops SmolLM's split of numbers into digits.
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    return model, tokenizer


def token_stream(tokenizer, path, count):
    ids = []
    with open(path, encoding="utf-8") as rows:
        for line in rows:
            row = json.loads(line)
            if "messages" in row:
                text = tokenizer.apply_chat_template(row["messages"], tokenize=False)
                ids += tokenizer(text, add_special_tokens=False)["input_ids"]
            else:
                ids += tokenizer(row["text"])["input_ids"] + [tokenizer.eos_token_id]
            if len(ids) >= count:
                break
    while len(ids) < count:
        ids += ids
    return ids[:count]


def main():
    a = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(a.threads)
    model, tokenizer = load(a.model, torch.bfloat16 if a.dtype == "bf16" else torch.float32)
    model.config.use_cache = False
    if not a.full:
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(r=a.rank, lora_alpha=a.scale * a.rank, target_modules="all-linear",
                                                 task_type="CAUSAL_LM"))
    if a.checkpoint:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    tokens = a.batch * a.seq
    ids = token_stream(tokenizer, a.data, tokens * a.steps)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=a.lr, weight_decay=0.01)
    step_model = torch.compile(model) if a.compile else model
    model.train()
    rates, loss = [], None
    report(event="start", iters=a.steps, trainable=sum(p.numel() for p in trained))
    for step in range(a.steps):
        if a.lockstep and not sys.stdin.readline():
            break
        batch = torch.tensor(ids[step * tokens:(step + 1) * tokens]).view(a.batch, a.seq)
        start = time.perf_counter()
        loss = step_model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - start
        rates.append(tokens / seconds)
        report(event="step", iter=step + 1, loss=float(loss.detach()), tokens_per_sec=rates[-1], seconds=seconds)
    if rates:
        report(event="done", tokens_per_sec_median=statistics.median(rates[2:] or rates),
               final_loss=float(loss.detach()), torch=torch.__version__)


def report(**fields):
    fields["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    main()
