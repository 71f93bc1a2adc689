"""The original files that loaders read: where they are and what their SHA-256 is.

``sha256sums.txt`` beside this module pins them, in the format of ``sha256sum``: run in a folder of
data, ``sha256sum --ignore-missing -c sha256sums.txt`` checks what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

_GITHUB = "https://raw.githubusercontent.com"
_SEAL = f"{_GITHUB}/Continual-Intelligence/SEAL/4cb1e7d4350c62403daee8c6723e6184886cb304"
_KNOWLEDGE = f"{_SEAL}/knowledge-incorporation/data"
_OLORA = f"{_GITHUB}/cmnfriend/O-LoRA/07117e1fc4a5f5ad9308a815a42cee8f46502dc8"
_DBPEDIA = "https://huggingface.co/datasets/DeveloperOats/DBPedia_Classes"

# Folder under --data -> the address of the folder that holds the originals, at one commit.
_FOLDERS = {
    "arc_agi_1": f"{_SEAL}/few-shot/data",
    "babi": f"{_GITHUB}/VinGarcia/bAbI/c4f149baa4ecc4ba9096d2706e5be845a98680e6",
    "banking77": (
        f"{_GITHUB}/PolyAI-LDN/task-specific-datasets"
        "/57ec275d8078af65b7731c2a98be812d844a6d6b/banking_data"
    ),
    "clinc150": f"{_GITHUB}/clinc/oos-eval/828f8093932c8fe6ca7936c3d2e52903b1c523de/data",
    "counterfact": (
        f"{_GITHUB}/Jometeorie/KnowledgeSpread"
        "/51d7402617c2e52bde0dc11b76e400c3725a181a/data/counterfact"
    ),
    "gutenberg_moby_dick": (
        f"{_GITHUB}/GITenberg/Moby-Dick--Or-The-Whale_2701/bdf1948e6cd00963730971e5624e764a35f238c3"
    ),
    "olora_cl_benchmark": _OLORA,
    "ruler_niah_words": (
        f"{_GITHUB}/mrmaxguns/wonderwordsmodule/5dfa455554e7c225a59c865d706c4293ca2c132e"
        "/wonderwords/assets"
    ),
    "squad": "https://rajpurkar.github.io/SQuAD-explorer/dataset",
    "squad_seal": _KNOWLEDGE,
    "squad_xquad_en": (f"{_GITHUB}/google-deepmind/xquad/7d30520c717524000f0d9d2f9c10a069acd9d285"),
}
_ELSEWHERE = {
    ("squad_seal", "base_val.json"): f"{_KNOWLEDGE}/synthetic_data/eval/base_val.json",
    ("squad_seal", "iter0_train.json"): f"{_KNOWLEDGE}/synthetic_data/train/iter0_train.json",
}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An original file.

    Attributes:
        folder: The data set's folder under ``--data``.
        name: Path of the file in that folder.
        url: Where the original is; a page where no exact version could be pinned.
        sha256: Of the original; None where no exact version could be pinned, and then the file is
            never downloaded: the user brings it.
    """

    folder: str
    name: str
    url: str
    sha256: str | None


def _sources() -> Iterator[SourceFile]:
    sums = resources.files(__package__).joinpath("sha256sums.txt").read_text(encoding="utf-8")
    for line in sums.splitlines():
        sha256, path = line.split("  ", 1)
        folder, name = path.split("/", 1)
        url = _ELSEWHERE.get((folder, name), f"{_FOLDERS[folder]}/{name}")
        yield SourceFile(folder, name, url, sha256)
    for name in ("DBPEDIA_train.csv", "DBPEDIA_test.csv"):
        yield SourceFile("dbpedia", name, _DBPEDIA, None)


FILES: dict[tuple[str, str], SourceFile] = {(s.folder, s.name): s for s in _sources()}
