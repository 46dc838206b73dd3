"""Near de-duplication as datatrove does it, with as many bands and rows as Branchmerge has at a threshold of 0.8.

    uv run --no-project --python 3.11 --with 'datatrove[processing]' --with spacy \
        python benchmarks/curate/near_datatrove.py FOLDER [--words spaces]

Prints the ids of the texts that repeat, as JSON. `--words spaces` parts words by spaces, as Branchmerge does, where
datatrove's own way is spaCy's tokenizer, which takes most of its time.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig

BANDS, ROWS_A_BAND = 14, 9


class BySpaces:
    """The part of datatrove's word tokenizers that signatures need."""

    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--words", choices=["spacy", "spaces"], default="spacy")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as work, redirect_stderr(io.StringIO()):  # it logs much
        found = repeats(options.folder, Path(work), by_spaces=options.words == "spaces")
    print(json.dumps(found))


def repeats(folder: Path, work: Path, *, by_spaces: bool) -> list[str]:
    config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS_A_BAND)
    signature = MinhashDedupSignature(str(work / "signatures"), config=config)
    if by_spaces:
        vars(signature)["word_tokenizer"] = BySpaces()
    run(work / "1", [_documents(folder), signature], tasks=1)
    run(work / "2", [MinhashDedupBuckets(str(work / "signatures"), str(work / "buckets"), config=config)], tasks=BANDS)
    run(work / "3", [MinhashDedupCluster(str(work / "buckets"), str(work / "repeats"), config=config)], tasks=1)
    kept: set[str] = set()

    def note(documents: Iterator[Document], _rank: int, _world: int) -> Iterator[Document]:
        for document in documents:
            kept.add(document.id)
            yield document

    run(work / "4", [_documents(folder), MinhashDedupFilter(str(work / "repeats")), note], tasks=1)
    return [document.id for document in _documents(folder) if document.id not in kept]


def run(logs: Path, pipeline: list[object], *, tasks: int) -> None:
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(logs)).run()


def _documents(folder: Path) -> list[Document]:
    with (folder / "texts.jsonl").open() as file:
        rows = (json.loads(line) for line in file)
        return [Document(text=row["text"], id=row["id"]) for row in rows]


if __name__ == "__main__":
    main()
