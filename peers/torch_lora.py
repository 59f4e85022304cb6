"""LoRA or full fine-tuning with PyTorch and PEFT on the CPU, with the options and the lines of `hone train --json`.

peers/README.md says how to set it up and how to use it; --help lists the options.
"""
import common


def main():
    options = common.arguments("PyTorch and PEFT")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    dtype = torch.bfloat16 if options.weights == "bf16" else torch.float32
    with common.model_folder(options) as folder:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    model.config.use_cache = False
    if options.fine_tune_type == "lora":
        model = with_adapters(model, options)
    if options.grad_checkpoint:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.learning_rate, weight_decay=options.weight_decay)
    step_model = torch.compile(model) if options.compile else model

    def step(batch):
        ids = torch.tensor(batch)
        loss = step_model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    common.train(options, common.batches(tokenizer, options), sum(p.numel() for p in trained), step)


def with_adapters(model, options):
    import torch
    from peft import LoraConfig, get_peft_model

    names = ["model.layers." + name for name in common.adapted_layers(options, model.config.num_hidden_layers)]
    model = get_peft_model(model, LoraConfig(r=options.rank, lora_alpha=options.scale * options.rank,
                                             target_modules=names, task_type="CAUSAL_LM"))
    layers = [model.get_submodule("base_model.model." + name) for name in names]
    first = common.first_adapters(options, [layer.in_features for layer in layers])
    with torch.no_grad():
        for layer, a in zip(layers, first):
            layer.lora_A["default"].weight.copy_(torch.tensor(a))
    return model


if __name__ == "__main__":
    common.run(main)
