"""Makes the tokenizers beside this file, and expected.json: what Python says about them.

    pip install tokenizers && python make_tokenizers.py

byte-level/    BPE on bytes, as OPT has it: "</s>" before every text. Its file also asks for
               truncation to 8 tokens and for padding to 12, which transformers ignores unless told.
byte-fallback/ BPE on characters with "\u2581" for a space, bytes for what is not in the vocabulary,
               "<s>" before every text, as LLaMA has it.

The training text is this file's own. expected.json holds ids of single texts, a digest of the ids
of a long text, and samples drawn as OWL's lib/data.py draws them, with CPython's random module.
"""

import hashlib
import json
import pathlib
import random
import struct

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent

TRAINING = """
An owl sat in the old oak and watched the river. The river was slow in summer and quick in spring,
and the owl knew every stone of it. When the moon rose, the owl flew over the meadow, listened for
mice, and came back to the oak before the sun.
One night a young fox asked the owl why it never slept when others did. "Because the night is
where the quiet things are," said the owl. "Nobody prunes a tree in the dark, and nobody counts the
leaves; but in the morning the weak branches are gone, and the strong ones carry the fruit."
The fox thought about that for 12 days and 7 nights. Then it went to the gardener, who had cut
every tree of the orchard by the same amount: 70% of the small trees, 70% of the big ones. Some of
the trees had died of it. "Ask the owl," said the fox, "which trees can bear the knife."
"""

TEXTS = {
    "plain": "The owl watched the river.",
    "empty": "",
    "spaces and lines": "  two spaces,\n\ta tab and\r\na line ",
    "other scripts": "Zürich, 東京, Ёлка, שלום",
    "beyond the basic plane": "an owl 🦉 and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "special token inside": "the <s> and the </s> of it",
    "zero character": "before\0after",
    "combining": "e\u0301 is not é",
    "replacement character": "\ufffd",
}


def training_lines():
    return [line for line in TRAINING.strip().split("\n")]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        training_lines(),
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=12, pad_id=1, pad_token="<pad>")
    return json.loads(tokenizer.to_str())


def byte_fallback():
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trained.train_from_iterator(
        training_lines(), trainers.BpeTrainer(vocab_size=200, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>"]
    tokens += [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += sorted(model["vocab"], key=model["vocab"].get)
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: id for id, token in enumerate(tokens)},
            merges=[tuple(merge) for merge in model["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return json.loads(tokenizer.to_str())


def long_text():
    """About 1.2 MB; TextTokenizerTest makes the same."""
    return "".join(f"Owl {i} counted {i * 7919 % 10007} leaves by the river.\n" for i in range(28000))


def documents():
    """Of 8 to 80 sentences; WindowSamplingTest makes the same."""
    return [
        " ".join(f"Tree {i} lost branch {j * j}." for j in range(8 + i * 37 % 73)) for i in range(40)
    ]


def digest(sequences):
    """TokenSequences.digest()"""
    sha256 = hashlib.sha256()
    for ids in sequences:
        sha256.update(struct.pack(f"<{len(ids) + 1}i", len(ids), *ids))
    return sha256.hexdigest()


def published(tokenizer, seed, sequences, length):
    """get_c4 of OWL's lib/data.py, without the model and the network."""
    texts = documents()
    random.seed(seed)
    windows, draws = [], []
    for _ in range(sequences):
        while True:
            i = random.randint(0, len(texts) - 1)
            ids = tokenizer.encode(texts[i]).ids
            if len(ids) > length:
                break
        offset = random.randint(0, len(ids) - length - 1)
        windows.append(ids[offset : offset + length])
        draws.append([i, offset])
    return windows, draws


def packed(tokenizer, sequences, length):
    stream = [id for text in documents() for id in tokenizer.encode(text).ids]
    return [stream[i * length : (i + 1) * length] for i in range(sequences)]


def main():
    expected = {}
    for name, content in {"byte-level": byte_level(), "byte-fallback": byte_fallback()}.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        (folder / "tokenizer.json").write_text(
            json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
        )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        long_ids = tokenizer.encode(long_text()).ids
        windows, draws = published(tokenizer, seed=3, sequences=8, length=256)
        expected[name] = {
            "texts": [
                {
                    "case": case,
                    "text": text,
                    "ids": (ids := tokenizer.encode(text).ids),
                    "decoded": tokenizer.decode(ids, skip_special_tokens=False),
                }
                for case, text in TEXTS.items()
            ],
            "long": {"tokens": len(long_ids), "digest": digest([long_ids])},
            "published": {
                "draws": draws,
                "digest": digest(windows),
                "first": windows[0][:8],
            },
            "packed": {"digest": digest(packed(tokenizer, sequences=16, length=256))},
        }
    (HERE / "expected.json").write_text(
        json.dumps(expected, ensure_ascii=True, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
