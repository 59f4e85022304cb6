"""What the peers share: hone's options, its batches, its adapters' first values, and the lines it speaks.

A peer takes the options of `hone train` and prints the lines of `hone train --json`, so that `hone eval --peer` and
bench/ lead it as they lead hone itself. The order of rows and the adapters' first values follow from --seed as they do
in hone (src/train/data.c, adapter.c): with the same options both learn the same tokens, from the same beginning, and
their curves can be laid over each other. This module needs only the standard library.
"""
import argparse
import contextlib
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

LINEARS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
MASK = (1 << 64) - 1


# ---- options ----

def arguments(tool):
    p = argparse.ArgumentParser(
        description=f"LoRA or full fine-tuning with {tool}: the options of `hone train`, and its --json lines.",
        epilog="Other options of `hone train` are named on standard error and have no effect.", allow_abbrev=False)
    add = p.add_argument
    add("--model", required=True, help="a .gguf file, or a Hugging Face folder")
    add("--data", required=True, help="folder with train.jsonl, or one .jsonl file")
    add("--weights", choices=["f32", "bf16"], default="f32", help="type of weights and computation (default: f32)")
    add("--fine-tune-type", choices=["lora", "full"], default="lora", help="default: lora")
    add("--num-layers", type=int, default=-1, help="adapters on the last so many blocks, -1: all (the default)")
    add("--rank", type=positive, default=8, help="of the adapters (default: 8)")
    add("--scale", type=float, default=20.0, help="of the adapters (default: 20)")
    add("--iters", type=positive, default=10, help="steps (default: 10)")
    add("--batch-size", type=positive, default=4, help="default: 4")
    add("--max-seq-length", type=positive, default=256, help="default: 256")
    add("--packing", choices=["concat"], default="concat",
        help="batch-size x max-seq-length tokens of one stream: the only kind that peers have")
    add("--learning-rate", type=float, default=1e-4, help="of AdamW (default: 1e-4)")
    add("--weight-decay", type=float, default=0.01, help="of AdamW (default: 0.01)")
    add("--seed", type=int, default=0, help="of the adapters and of the order of rows (default: 0)")
    add("--grad-checkpoint", action="store_true", help="compute activations again in backward")
    add("--compile", action="store_true", help="let the framework compile the step")
    add("--threads", type=positive, default=len(os.sched_getaffinity(0)), help="default: all processors")
    add("--lockstep", action="store_true", help="wait for a line on standard input before each step")
    add("--json", action="store_true", help="JSON lines: a peer prints nothing else")
    add("--no-save", action="store_true", help="write nothing: a peer never does")
    options, others = p.parse_known_args()
    check(p, options)
    if others:
        print(f"{p.prog}: no effect here: {' '.join(others)}", file=sys.stderr)
    return options


def positive(word):
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{word}: expected 1 or more")
    return value


def check(parser, options):
    if options.num_layers < -1 or options.num_layers == 0:
        parser.error(f"--num-layers {options.num_layers}: expected 1 or more, or -1 for all")
    if options.max_seq_length < 2:
        parser.error("--max-seq-length 1: a row of one token has nothing to learn")
    if not 0 <= options.seed <= MASK:
        parser.error(f"--seed {options.seed}: expected 0 or more")
    if os.path.isdir(options.data):
        options.data = os.path.join(options.data, "train.jsonl")
    for path in (options.model, options.data):
        if not os.path.exists(path):
            sys.exit(f"{parser.prog}: {path}: no such file or folder")


def run(main):
    """main(), with one line for what is not installed."""
    try:
        main()
    except ModuleNotFoundError as missing:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {missing.name} is not installed: see peers/README.md")


# ---- the model ----

@contextlib.contextmanager
def model_folder(options):
    """The model as a Hugging Face folder. One made from a GGUF is there only while it is loaded, and a process of its
    own makes it, so that what that takes is not counted as the peer's memory."""
    if os.path.isdir(options.model):
        yield options.model
        return
    maker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gguf_to_folder.py")
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        made = subprocess.run([sys.executable, maker, options.model, folder, options.weights], stdin=subprocess.DEVNULL,
                              stdout=sys.stderr, check=False)
        if made.returncode != 0:
            sys.exit(f"{options.model}: could not be made a Hugging Face folder (see above)")
        yield folder


# ---- random numbers: xoshiro256**, as src/base/rng.c has it ----

class Random:
    def __init__(self, seed):
        self.state = []
        for _ in range(4):
            seed = (seed + 0x9e3779b97f4a7c15) & MASK
            z = seed
            z = ((z ^ z >> 30) * 0xbf58476d1ce4e5b9) & MASK
            z = ((z ^ z >> 27) * 0x94d049bb133111eb) & MASK
            self.state.append(z ^ z >> 31)

    def next(self):
        a, b, c, d = self.state
        x = b * 5 & MASK
        result = ((x << 7 | x >> 57) & MASK) * 9 & MASK
        c ^= a
        d ^= b
        self.state = [a ^ d, b ^ c, c ^ b << 17 & MASK, (d << 45 | d >> 19) & MASK]
        return result

    def uniform(self):
        return (self.next() >> 11) * 2.0 ** -53

    def below(self, bound):
        least = (MASK + 1 - bound) % bound
        while True:
            value = self.next()
            if value >= least:
                return value % bound

    def shuffle(self, items):
        for i in range(len(items), 1, -1):
            j = self.below(i)
            items[i - 1], items[j] = items[j], items[i - 1]


def adapted_layers(options, blocks):
    """ "BLOCK.LINEAR" of every layer with an adapter, in hone's order."""
    first = 0 if options.num_layers < 0 else max(blocks - options.num_layers, 0)
    return [f"{block}.{linear}" for block in range(first, blocks) for linear in LINEARS]


def first_adapters(options, widths):
    """For each layer, in their order, the values of A: `rank` rows as wide as the layer's input. B begins as zero."""
    random = Random(options.seed)
    for width in widths:
        bound = 1 / math.sqrt(width)
        yield [[bound * (2 * random.uniform() - 1) for _ in range(width)] for _ in range(options.rank)]


# ---- data ----

def read_rows(path):
    with open(path, encoding="utf-8-sig") as file:
        return [line for line in file if line.strip(" \t\r\n")]


def shuffled_rows(path, seed):
    """The file's rows without end, in the order of each epoch."""
    lines = read_rows(path)
    epoch = 0
    while lines:
        order = list(range(len(lines)))
        Random(seed + epoch * 0x9e3779b97f4a7c15 & MASK).shuffle(order)
        for i in order:
            yield json.loads(lines[i])
        epoch += 1


def row_tokens(tokenizer, row):
    if "prompt" in row and "completion" in row:
        if not tokenizer.chat_template:
            row = {"text": row["prompt"] + row["completion"]}
        else:
            row = {"messages": [{"role": "user", "content": row["prompt"]},
                                {"role": "assistant", "content": row["completion"]}]}
    if "messages" in row:
        text = tokenizer.apply_chat_template(row["messages"], tools=row.get("tools"), tokenize=False)
        return tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = tokenizer(row["text"])["input_ids"]
    return ids if ids[-1:] == [tokenizer.eos_token_id] else ids + [tokenizer.eos_token_id]


def batches(tokenizer, options):
    """The tokens of every step: `iters` lists of `batch-size` rows."""
    size, length = options.batch_size, options.max_seq_length
    wanted, stream = options.iters * size * length, []
    for row in shuffled_rows(options.data, options.seed):
        ids = row_tokens(tokenizer, row)
        stream += ids if len(ids) > 1 else []  # one token predicts nothing
        if len(stream) >= wanted:
            break
    else:
        sys.exit(f"{options.data}: no rows")
    rows = [stream[i:i + length] for i in range(0, wanted, length)]
    return [rows[i:i + size] for i in range(0, len(rows), size)]


# ---- steps ----

def report(**fields):
    fields["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(fields), flush=True)


def train(options, batches, trainable, step):
    """Reports `step(batch)`, which learns and returns the loss, for each batch; led in steps, until the input ends."""
    tokens = options.batch_size * options.max_seq_length
    rates, loss = [], None
    report(event="start", iters=options.iters, trainable=trainable)
    for number, batch in enumerate(batches, 1):
        if options.lockstep and not sys.stdin.readline():
            break
        start = time.perf_counter()
        loss = step(batch)
        seconds = time.perf_counter() - start
        rates.append(tokens / seconds)
        report(event="step", iter=number, loss=loss, tokens_per_sec=rates[-1], seconds=seconds)
    counted = rates[2:] if len(rates) > 4 else rates
    report(event="done", final_loss=loss, tokens_per_sec_median=statistics.median(counted) if counted else None)
