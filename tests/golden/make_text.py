#!/usr/bin/env python3
"""Makes the golden figures of src/text: tokenizers/ and jinja-cases.json, with Hugging Face tokenizers,
SentencePiece and Jinja2 (set up as transformers sets it up for chat templates).

usage: make_text.py OUT_DIR [--seed N] [--part tokenizers|sentencepiece|jinja|all] [--count N]
needs: tokenizers sentencepiece gguf jinja2; WordNet's data.noun (Debian: wordnet-base)
"""
import argparse, copy, json, os, random, tempfile, unicodedata
from contextlib import contextmanager


def corpus():
    lines = open("/usr/share/wordnet/data.noun", encoding="utf-8").read().splitlines()
    return [l.split("|")[-1].strip() for l in lines if not l.startswith("  ")]


# --- strings -----------------------------------------------------------------------------------------------------

BLOCKS = [(32, 126)] * 6 + [(97, 122)] * 3 + [
    (48, 57), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x3ff), (0x400, 0x4ff), (0x590, 0x6ff), (0x900, 0x97f),
    (0xe00, 0xe7f), (0x1100, 0x11ff), (0x1e00, 0x1fff), (0x2000, 0x206f), (0x2070, 0x218f), (0x2460, 0x24ff),
    (0x3000, 0x30ff), (0x3300, 0x33ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xf900, 0xfaff), (0xfb00, 0xfdff),
    (0xff00, 0xffef), (0x1d400, 0x1d7ff), (0x1f100, 0x1f1ff), (0x1f300, 0x1faff), (0, 31), (9, 13), (0x20000, 0x2a6df)]
ENDS = ["", "", "", " ", "  ", "\n", "\r\n", "'s", "'LL", "7", "\t", "\u00a0", "\u2581", "\u180e", "\x85", "<0x41>", "\u017f"]


def same_unicode(c, seen={}):
    """False for characters that the libraries know from different versions of Unicode."""
    from tokenizers import normalizers as N
    if c not in seen:
        seen[c] = unicodedata.category(c) != "Cn" and all(
            form(n).normalize_str(s) == unicodedata.normalize(n, s)
            for n, form in (("NFD", lambda _: N.NFD()), ("NFKD", lambda _: N.NFKD()))
            for s in (c, "\u0345" + c, c + "\u0334"))
    return seen[c]


def random_string(rng, words):
    s = ""
    for _ in range(rng.randint(0, 7)):
        k = rng.random()
        if k < .3:
            s += rng.choice(words)
        elif k < .37:
            s += rng.choice("abcdefg 1\n\u2581") * rng.randint(1, 20)
        else:
            a, b = rng.choice(BLOCKS)
            s += "".join(chr(rng.randint(a, b)) for _ in range(rng.randint(1, 7)))
        s += rng.choice(ENDS)
    return "".join(c for c in s if not 0xd800 <= ord(c) <= 0xdfff and same_unicode(c))


# --- tokenizers --------------------------------------------------------------------------------------------------

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
MARKS = r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def configurations():
    """Name -> maker of a tokenizer; together they use every component that hone reads, in every mode."""
    from tokenizers import Regex, Tokenizer, decoders as D, models, normalizers as N, pre_tokenizers as P, trainers
    text = corpus()[:4000]
    byte_level = lambda **k: P.ByteLevel(add_prefix_space=False, **k)

    def gpt(normalizer, pre, **options):
        t = Tokenizer(models.BPE(**options))
        if normalizer:
            t.normalizer = normalizer
        t.pre_tokenizer, t.decoder = pre, D.ByteLevel()
        t.train_from_iterator(text, trainers.BpeTrainer(vocab_size=400, initial_alphabet=P.ByteLevel.alphabet(),
                                                        show_progress=False))
        return t

    def spm(normalizer, pre, decoder, byte_fallback=True, fuse=True):
        special = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256) if byte_fallback]
        t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse, byte_fallback=byte_fallback))
        if normalizer:
            t.normalizer = normalizer
        if pre:
            t.pre_tokenizer = pre
        if decoder:
            t.decoder = decoder
        t.train_from_iterator(text, trainers.BpeTrainer(vocab_size=450, special_tokens=special, show_progress=False))
        j = json.loads(t.to_str())
        j["added_tokens"] = [a for a in j["added_tokens"] if not a["content"].startswith("<0x")]
        return Tokenizer.from_str(json.dumps(j))

    plain = byte_level(use_regex=False)
    llama = lambda: D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)])
    c = {
        "gpt2": lambda: gpt(None, P.ByteLevel(add_prefix_space=True)),
        "llama3": lambda: gpt(None, P.Sequence([P.Split(Regex(LLAMA3), "isolated"), plain]), ignore_merges=True),
        "cased": lambda: gpt(N.NFKC(), P.Sequence([P.Split(Regex(CASED), "removed", invert=True), plain])),
        "marks": lambda: gpt(N.NFD(), P.Sequence([P.Split(Regex(r"\p{N}{1,3}"), "isolated"),
                                                  P.Split(Regex("[一-龥぀-ゟ゠-ヿ]+"), "isolated"),
                                                  P.Split(Regex(MARKS), "isolated"), plain])),
        "lower": lambda: gpt(N.Sequence([N.NFKD(), N.Lowercase(), N.Strip(True, False)]),
                             P.Sequence([P.Digits(False), P.Punctuation("merged_with_next"), byte_level(use_regex=True)])),
        "words": lambda: gpt(N.NFC(), P.Sequence([P.Digits(True), P.Whitespace(), plain])),
        "word_regex": lambda: gpt(None, P.Sequence([P.Split(Regex(r"\w+|\W"), "isolated"),
                                                    P.Split(Regex(r"^.|[\w-]$|\bx|\h\h"), "isolated"), plain])),
        "spm_nfkc": lambda: spm(N.Sequence([N.NFKC(), N.Prepend("▁"), N.Replace(" ", "▁")]), None, llama()),
        "spm_unfused": lambda: spm(N.Replace(" ", "▁"), P.Split("▁", "merged_with_previous"),
                                   D.Sequence([D.Replace("▁", " "), D.Fuse(), D.Strip(" ", 2, 0)]), False, False),
        "undecoded": lambda: spm(N.Replace(" ", "▁"), None, None, False),
    }
    for b in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        c["split_" + b] = lambda b=b: gpt(N.Sequence([N.Strip(False, True), N.Replace(Regex(r"\d|b+"), "<>")]),
                                          P.Sequence([P.Split(Regex(r"[aeiou\s]|x*(?=c)"), b), P.Split("t", b, invert=True),
                                                      P.Punctuation(b), plain]))
    for s, split in [("always", True), ("first", False), ("first", True), ("never", True)]:
        c[f"metaspace_{s}_{'split' if split else 'whole'}"] = lambda s=s, split=split: spm(
            None, P.Metaspace(prepend_scheme=s, split=split),
            D.Sequence([D.ByteFallback(), D.Metaspace(prepend_scheme=s)]), s != "never", split)
    return c


def add_tokens(t):
    from tokenizers import AddedToken, processors
    special = [AddedToken("<|im_start|>", special=True, normalized=False), AddedToken("<|im|>", special=True, normalized=False),
               AddedToken("<mask>", lstrip=True, special=True, normalized=False),
               AddedToken("<r>", rstrip=True, special=True, normalized=False)]
    t.add_tokens([AddedToken("<think>", normalized=False), AddedToken("word", single_word=True, normalized=False),
                  AddedToken("Norm", normalized=True), AddedToken("é", normalized=True, lstrip=True, rstrip=True),
                  AddedToken("@ @", normalized=True), AddedToken("ab", single_word=True, normalized=True)])
    t.add_special_tokens(special)
    t.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A <r>", special_tokens=[(n, t.token_to_id(n)) for n in ("<|im_start|>", "<r>")])


WORDS = ["<|im_start|>", "<|im|>", "<think>", "<mask>", "<r>", "word", "Norm", "é", "@ @", "@  @", "ab", "Word", "words", "norm",
         " é ", "e\u0301", "<|im_st", "<s>", "</s>", "<unk>", "the ", "of a "]


def make_tokenizers(out, rng, count):
    from tokenizers import Tokenizer
    for name, make in configurations().items():
        t = make()
        add_tokens(t)
        folder = os.path.join(out, "tokenizers", name)
        os.makedirs(folder, exist_ok=True)
        source = json.dumps(json.loads(t.to_str()), ensure_ascii=False, separators=(",", ":"))
        open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8").write(source)
        t = Tokenizer.from_str(source)
        cases = []
        for _ in range(count):
            s = random_string(rng, WORDS)
            try:
                ids, special = t.encode(s, add_special_tokens=False).ids, t.encode(s).ids
            except BaseException as e:  # the library panics when stripped white space overlaps another token
                assert "bad split" in str(e), e
                continue
            cases.append({"text": s, "ids": ids, "ids_special": special, "decoded": t.decode(ids, skip_special_tokens=False)})
        lists = []
        for _ in range(max(1, count // 2)):
            ids = [rng.randrange(t.get_vocab_size()) for _ in range(rng.randint(0, 12))]
            lists.append({"ids": ids, "decoded": t.decode(ids, skip_special_tokens=False),
                          "without_special": t.decode(ids, skip_special_tokens=True)})
        dump(os.path.join(folder, "cases.json"), {"tokens": cases, "decode": lists})


def make_sentencepiece(out, rng, count):
    import sentencepiece
    from gguf import GGUFWriter
    folder = os.path.join(out, "tokenizers", "sentencepiece")
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        source, model = os.path.join(tmp, "corpus"), os.path.join(tmp, "m")
        open(source, "w", encoding="utf-8").write("\n".join(corpus()) + "\nnaïve café Straße über 日本語\n" * 20)
        sentencepiece.SentencePieceTrainer.train(
            input=source, model_prefix=model, vocab_size=700, model_type="bpe", byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True,
            user_defined_symbols=["<|user|>", "<think>"], character_coverage=.9995, minloglevel=2, num_threads=1)
        s = sentencepiece.SentencePieceProcessor(model_file=model + ".model")
    n = s.get_piece_size()
    kind = lambda i: (2 if s.is_unknown(i) else 3 if s.is_control(i) else 6 if s.is_byte(i) else 5 if s.is_unused(i) else
                      4 if s.id_to_piece(i) in ("<|user|>", "<think>") else 1)
    w = GGUFWriter(os.path.join(folder, "model.gguf"), "llama")
    w.add_string("tokenizer.ggml.model", "llama")
    w.add_string("tokenizer.ggml.pre", "default")
    w.add_token_list([s.id_to_piece(i).encode() for i in range(n)])
    w.add_token_scores([s.get_score(i) for i in range(n)])
    w.add_token_types([kind(i) for i in range(n)])
    for add, i in ((w.add_bos_token_id, 1), (w.add_eos_token_id, 2), (w.add_unk_token_id, 0)):
        add(i)
    w.add_add_bos_token(True)
    w.add_add_space_prefix(True)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    words = rng.sample(corpus(), 40) + ["the", "naïve ", "日本"]
    texts = [random_string(rng, words).replace("\0", "") for _ in range(3 * count)] + words
    cases = [{"text": t, "ids": s.encode(t), "ids_special": [1] + s.encode(t), "decoded": t} for t in texts if "▁" not in t]
    dump(os.path.join(folder, "cases.json"), {"tokens": cases, "decode": []})


# --- Jinja2 ------------------------------------------------------------------------------------------------------

def environment():
    import jinja2, jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Tracker(jinja2.ext.Extension):
        tags = {"generation"}

        def __init__(self, env):
            super().__init__(env)
            env.extend(activate_tracker=self.activate)
            self.blocks = self.spans = None

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_track"), [], [], body).set_lineno(line)

        @jinja2.pass_eval_context
        def _track(self, context, caller):
            text = caller()
            begin = len("".join(self.blocks))
            self.spans.append((begin, begin + len(text)))
            return text

        @contextmanager
        def activate(self, blocks, spans):
            self.blocks, self.spans = blocks, spans
            yield

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    from datetime import datetime
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Tracker, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.now().strftime(f)
    return env


def render(template, variables):
    """{"text", "spans"?} with spans in bytes, or {"error"}."""
    env, blocks, spans = environment(), [], []
    try:
        t = env.from_string(template)
        with env.activate_tracker(blocks, spans):
            for b in t.generate(**copy.deepcopy(variables)):
                blocks.append(b)
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}
    text = "".join(blocks)
    out = {"text": text}
    if spans:
        out["spans"] = [[len(text[:a].encode()), len(text[:b].encode())] for a, b in spans]
    return out


def make_jinja(out):
    """Reads the templates from the file itself: to add cases, add them there without results and run this."""
    path = os.path.join(out, "jinja-cases.json")
    doc = json.load(open(path, encoding="utf-8"))
    for case in doc["cases"]:
        keep = {k: case[k] for k in ("group", "template")}
        case.clear()
        case.update(keep, **render(keep["template"], doc["variables"]))
    for case in doc["chats"]:
        keep = {k: case[k] for k in ("template", "variables")}
        case.clear()
        case.update(keep, **render(doc["chat_templates"][keep["template"]], keep["variables"]))
    dump(path, doc)


def dump(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, separators=(",", ":") if "cases.json" == os.path.basename(path) else None,
                  indent=None if "cases.json" == os.path.basename(path) else 1)
        f.write("\n")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("out")
    a.add_argument("--seed", type=int, default=7)
    a.add_argument("--part", default="all", choices=["tokenizers", "sentencepiece", "jinja", "all"])
    a.add_argument("--count", type=int, default=16, help="strings for each tokenizer")
    a = a.parse_args()
    rng = random.Random(a.seed)
    if a.part in ("tokenizers", "all"):
        make_tokenizers(a.out, rng, a.count)
    if a.part in ("sentencepiece", "all"):
        make_sentencepiece(a.out, rng, a.count)
    if a.part in ("jinja", "all"):
        make_jinja(a.out)


if __name__ == "__main__":
    main()
