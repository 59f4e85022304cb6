"""LoRA or full fine-tuning with mlx-lm, with the options and the lines of `hone train --json`.

peers/README.md says how to set it up and how to use it; --help lists the options.
"""
import ctypes
import os
import sys

import common


def main():
    options = common.arguments("mlx-lm")
    use_openblas(options.threads)
    import mlx.core as mx
    import mlx_lm
    from mlx.utils import tree_flatten
    from transformers import AutoTokenizer

    mx.random.seed(options.seed)
    with common.model_folder(options) as folder:
        model, _ = mlx_lm.load(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    model.set_dtype(mx.bfloat16 if options.weights == "bf16" else mx.float32)
    if options.fine_tune_type == "lora":
        add_adapters(model, options)
    trainable = sum(p.size for _, p in tree_flatten(model.trainable_parameters()))
    common.train(options, common.batches(tokenizer, options), trainable, make_step(model, options))


def use_openblas(threads):
    """PyPI's mlx for Linux brings the reference BLAS, which is ten times slower or more and knows one thread: OpenBLAS,
    loaded before it, takes its place."""
    if sys.platform != "linux":
        return
    os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    try:
        ctypes.CDLL("libopenblas.so.0", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        print("mlx computes with the BLAS that it brings, slowly: install OpenBLAS (peers/README.md)", file=sys.stderr)


def add_adapters(model, options):
    import mlx.core as mx
    from mlx_lm.tuner.utils import linear_to_lora_layers

    model.freeze()
    linear_to_lora_layers(model, options.num_layers, {"rank": options.rank, "scale": options.scale, "dropout": 0.0,
                                                      "keys": set(common.LINEARS)})
    modules = dict(model.named_modules())
    layers = [modules["model.layers." + name] for name in common.adapted_layers(options, len(model.layers))]
    first = common.first_adapters(options, [layer.lora_a.shape[0] for layer in layers])
    for layer, a in zip(layers, first):
        layer.lora_a = mx.array(a).T
    mx.eval(model.parameters())


def make_step(model, options):
    """A step as mlx-lm's own trainer does it, which always compiles: with --compile here, since on a CPU that takes
    minutes when it is done first."""
    import mlx.core as mx
    from mlx import nn, optimizers
    from mlx_lm.tuner.trainer import default_loss, grad_checkpoint

    if options.grad_checkpoint:
        grad_checkpoint(model.layers[0])
    model.train()
    optimizer = optimizers.AdamW(options.learning_rate, weight_decay=options.weight_decay, bias_correction=True)
    loss_and_gradients = nn.value_and_grad(model, default_loss)
    state = [model.state, optimizer.state, mx.random.state]

    def learn(ids, lengths):
        (loss, _), gradients = loss_and_gradients(model, ids, lengths)
        optimizer.update(model, gradients)
        return loss

    if options.compile:
        learn = mx.compile(learn, inputs=state, outputs=state)

    def step(batch):
        loss = learn(mx.array(batch), mx.array([[0, options.max_seq_length]] * options.batch_size))
        mx.eval(state, loss)
        return loss.item()

    return step


if __name__ == "__main__":
    common.run(main)
