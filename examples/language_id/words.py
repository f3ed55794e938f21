"""Labelled words from Debian's word lists, split into training and held-out words by a hash of the word."""

import dataclasses
import hashlib
import pathlib
import subprocess
import unicodedata

DICTIONARIES = pathlib.Path("/usr/share/dict")
MIN_LENGTH, MAX_LENGTH = 3, 20
TRAIN_PER_LANGUAGE, HELD_OUT_PER_LANGUAGE = 12_000, 1_000


@dataclasses.dataclass(frozen=True)
class Source:
    language: str
    package: str
    file: str
    # Whether LICENSES.md finds that words of the list may be committed here.
    redistributable: bool = False
    encoding: str = "utf-8"


SOURCES = [
    Source("danish", "wdanish", "danish"),
    Source("dutch", "wdutch", "dutch", True),
    Source("english", "wamerican", "american-english", True),
    Source("french", "wfrench", "french"),
    Source("german", "wngerman", "ngerman"),
    Source("italian", "witalian", "italian"),
    Source("polish", "wpolish", "polish", True),
    Source("portuguese", "wportuguese", "portuguese"),
    Source("spanish", "wspanish", "spanish", True),
    Source("swedish", "wswedish", "swedish", encoding="iso-8859-1"),
]
LANGUAGES = [source.language for source in SOURCES]


def package_versions():
    names = [source.package for source in SOURCES]
    lines = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names], check=True, capture_output=True, text=True
    ).stdout.split("\n")
    return dict(line.split(" ") for line in lines if line)


def read_list(source):
    """The list's words of letters alone, lower case, composed (NFC)."""
    path = DICTIONARIES / source.file
    if not path.exists():
        packages = " ".join(s.package for s in SOURCES)
        raise SystemExit(f"{path} is missing: apt-get install {packages}")
    words = (unicodedata.normalize("NFC", line.strip().lower()) for line in path.read_text(source.encoding).splitlines())
    return {w for w in words if w.isalpha() and MIN_LENGTH <= len(w) <= MAX_LENGTH}


def key(word):
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")


def load():
    """`(train, held_out)`, each a list of `(word, class)`, equally many of each language.

    A word that occurs in two lists is dropped from both. A tenth of the words, by hash, is held out; of either part
    the words of smallest hash are taken.
    """
    lists = [read_list(source) for source in SOURCES]
    seen, shared = set(), set()
    for words in lists:
        shared |= words & seen
        seen |= words
    train, held_out = [], []
    for label, (source, words) in enumerate(zip(SOURCES, lists)):
        ordered = sorted(words - shared, key=key)
        parts = [[w for w in ordered if key(w) % 10 != 0], [w for w in ordered if key(w) % 10 == 0]]
        for target, part, count in zip((train, held_out), parts, (TRAIN_PER_LANGUAGE, HELD_OUT_PER_LANGUAGE)):
            if len(part) < count:
                raise SystemExit(f"{source.file} has {len(part)} words for a part that needs {count}")
            target += [(w, label) for w in part[:count]]
    return train, held_out
