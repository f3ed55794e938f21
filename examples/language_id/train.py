"""Trains the language classifier of this example, and a plain tanh RNN of the same size the same way. See README.md.

    python examples/language_id/train.py            # trains both, writes every generated file of this folder
    python examples/language_id/train.py --sweep    # tries learning rates on words split off the training words
"""

import argparse
import json
import pathlib
import platform
import random
import time

import torch
from safetensors.torch import save_file
from torch import nn

import words

HERE = pathlib.Path(__file__).parent
EMBEDDING, HIDDEN, LAYERS = 24, 64, 2
EPOCHS, BATCH, CLIP = 8, 128, 1.0
# The best of each in --sweep.
LEARNING_RATE = {"GRU": 4e-3, "RNN": 2e-3}
UNKNOWN_RATE = 0.01
MIN_COUNT = 20
COMMITTED_PER_LANGUAGE = 500
EXACT_WORDS = 48


class Classifier(nn.Module):
    """Letters -> embedding -> recurrent layers -> the last layer's final states of both directions -> logits."""

    def __init__(self, recurrent, symbols, hidden):
        super().__init__()
        self.embedding = nn.Embedding(symbols, EMBEDDING)
        self.gru = recurrent(EMBEDDING, hidden, LAYERS, bidirectional=True)
        self.head = nn.Linear(2 * hidden, len(words.LANGUAGES))

    def forward(self, indices, lengths=None):
        """`indices [T, B]` of letters; `lengths [B]` where the words differ in length."""
        x = self.embedding(indices)
        if lengths is not None:
            x = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        _, final = self.gru(x)
        return self.head(torch.cat([final[-2], final[-1]], dim=1))


def alphabet_of(train):
    counts = {}
    for word, _ in train:
        for letter in word:
            counts[letter] = counts.get(letter, 0) + 1
    return sorted(letter for letter, count in counts.items() if count >= MIN_COUNT)


def encode(word, index):
    """Index 0 stands for every character outside the alphabet."""
    return [index.get(letter, 0) for letter in word]


def batches(samples, index, rng):
    """Batches of words of one length, so that training needs no padding, in random order."""
    by_length = {}
    for word, label in rng.sample(samples, len(samples)):
        by_length.setdefault(len(word), []).append((encode(word, index), label))
    chunks = [group[k : k + BATCH] for group in by_length.values() for k in range(0, len(group), BATCH)]
    rng.shuffle(chunks)
    for chunk in chunks:
        yield torch.tensor([w for w, _ in chunk]).T, torch.tensor([label for _, label in chunk])


def train_model(recurrent, hidden, rate, samples, index, epochs=EPOCHS, seed=1):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    model = Classifier(recurrent, len(index) + 1, hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = epochs * sum(1 for _ in batches(samples, index, random.Random(0)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for epoch in range(epochs):
        begin, total = time.time(), 0.0
        for indices, labels in batches(samples, index, rng):
            indices = indices.masked_fill(torch.rand(indices.shape) < UNKNOWN_RATE, 0)
            loss = nn.functional.cross_entropy(model(indices), labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(labels)
        print(f"  epoch {epoch + 1}: loss {total / len(samples):.4f}, {time.time() - begin:.0f} s", flush=True)
    return model.eval()


@torch.no_grad()
def logits_of(model, texts, index):
    """All words as one batch padded to the longest."""
    encoded = [encode(word, index) for word in texts]
    lengths = torch.tensor([len(e) for e in encoded])
    indices = nn.utils.rnn.pad_sequence([torch.tensor(e) for e in encoded])
    return model(indices, lengths)


def evaluate(model, samples, index):
    labels = torch.tensor([label for _, label in samples])
    right = logits_of(model, [w for w, _ in samples], index).argmax(1) == labels
    by_language = {name: right[labels == k].double().mean().item() for k, name in enumerate(words.LANGUAGES)}
    return right.double().mean().item(), by_language


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def matching_hidden(symbols, target):
    """The hidden size that brings the plain RNN's parameter count closest to `target`."""
    return min(range(8, 512), key=lambda h: abs(parameters(Classifier(nn.RNN, symbols, h)) - target))


def sweep(samples, index, sizes):
    inner = [s for s in samples if words.key(s[0]) % 11 != 0]
    outer = [s for s in samples if words.key(s[0]) % 11 == 0]
    for name, recurrent in (("GRU", nn.GRU), ("RNN", nn.RNN)):
        for rate in (5e-4, 1e-3, 2e-3, 4e-3, 8e-3):
            model = train_model(recurrent, sizes[name], rate, inner, index, epochs=3)
            print(f"{name} rate {rate}: {evaluate(model, outer, index)[0]:.4f}", flush=True)


def rounded(value, digits):
    return float(f"{value:.{digits}g}")


def write_sample(model, held_out, index):
    """held_out.tsv and golden.json: words that may be redistributed and what PyTorch makes of them in float64."""
    sample = []
    for label, source in enumerate(words.SOURCES):
        if source.redistributable:
            sample += [s for s in held_out if s[1] == label][:COMMITTED_PER_LANGUAGE]
    sample.sort()
    lines = [f"{word}\t{words.LANGUAGES[label]}\n" for word, label in sample]
    (HERE / "held_out.tsv").write_text("".join(lines), "utf-8")
    logits = logits_of(model.double(), [w for w, _ in sample], index)
    exact = list(range(0, len(sample), len(sample) // EXACT_WORDS))[:EXACT_WORDS]
    golden = {
        "torch": torch.__version__, "dtype": "float64", "languages": words.LANGUAGES,
        "predicted": logits.argmax(1).tolist(),
        "exact_rows": exact, "exact_logits": logits[exact].tolist(),
        "logits": [[rounded(v, 6) for v in row] for row in logits.tolist()],
    }
    rows = {k: ",\n".join(json.dumps(r) for r in golden.pop(k)) for k in ("exact_logits", "logits")}
    head = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items())
    body = ",\n".join(f"{json.dumps(k)}: [\n{v}\n]" for k, v in rows.items())
    (HERE / "golden.json").write_text(f"{{\n{head},\n{body}\n}}\n")
    return {"words": len(sample), "accuracy": evaluate(model, sample, index)[0]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", action="store_true", help="three epochs at each of five peak learning rates")
    parser.add_argument("--seeds", type=int, default=1, help="train from seeds 1 to SEEDS; the model of seed 1 is kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train, held_out = words.load()
    alphabet = alphabet_of(train)
    index = {letter: k + 1 for k, letter in enumerate(alphabet)}
    target = parameters(Classifier(nn.GRU, len(index) + 1, HIDDEN))
    sizes = {"GRU": HIDDEN, "RNN": matching_hidden(len(index) + 1, target)}
    print(f"{len(train)} training words, {len(held_out)} held out, {len(alphabet)} letters: {''.join(alphabet)}")
    if arguments.sweep:
        return sweep(train, index, sizes)

    results = {
        "torch": torch.__version__, "python": platform.python_version(), "word_lists": words.package_versions(),
        "languages": words.LANGUAGES, "letters": len(alphabet), "training_words": len(train),
        "held_out_words": len(held_out), "epochs": EPOCHS, "batch": BATCH, "models": {},
    }
    models = {}
    for name, recurrent in (("GRU", nn.GRU), ("RNN", nn.RNN)):
        runs = []
        for seed in range(1, arguments.seeds + 1):
            begin = time.time()
            print(f"{name}, hidden size {sizes[name]}, seed {seed}")
            model = train_model(recurrent, sizes[name], LEARNING_RATE[name], train, index, seed=seed)
            models.setdefault(name, model)
            seconds = round(time.time() - begin)
            accuracy, by_language = evaluate(model, held_out, index)
            runs.append({"seed": seed, "training_seconds": seconds, "held_out_accuracy": accuracy, "by_language": by_language})
            print(f"  {parameters(model)} parameters, held-out accuracy {accuracy:.4f}", flush=True)
        results["models"][name] = {
            "hidden_size": sizes[name], "parameters": parameters(model),
            "peak_learning_rate": LEARNING_RATE[name], "runs": runs,
        }
    metadata = {
        "format": "pt", "alphabet": json.dumps(alphabet, ensure_ascii=False),
        "languages": json.dumps(words.LANGUAGES), "max_length": str(words.MAX_LENGTH),
    }
    save_file(models["GRU"].state_dict(), HERE / "model.safetensors", metadata)
    results["committed_sample"] = write_sample(models["GRU"], held_out, index)
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
