"""Tiny stand-ins for the six published data sets, in the layout of their parquet files.

    python -m tests.support.published DIR [--rows 12]

Pictures and answers are the synthetic suite's; questions are not the benchmarks' own.
"""

import argparse
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from awares_edge.evaluation.benchmarks import BENCHMARKS
from awares_edge.synth.generate import generate

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXTS = pa.list_(pa.string())
TEXT, INT = pa.string(), pa.int64()

# As `datasets` writes them; the order of columns is the published one.
SCHEMAS = {
    "chartqa": {"type": TEXT, "question": TEXT, "answer": TEXT, "image": IMAGE},
    "docvqa": {
        "questionId": TEXT, "question": TEXT, "question_types": TEXTS, "image": IMAGE,
        "docId": INT, "ucsf_document_id": TEXT, "ucsf_document_page_no": TEXT,
        "answers": TEXTS, "data_split": TEXT,
    },
    "ocrbench": {
        "dataset": TEXT, "question": TEXT, "question_type": TEXT, "answer": TEXTS, "image": IMAGE,
    },
    "pope": {
        "id": TEXT, "question_id": TEXT, "question": TEXT, "answer": TEXT, "image_source": TEXT,
        "image": IMAGE, "category": TEXT,
    },
    "realworldqa": {"image": IMAGE, "question": TEXT, "answer": TEXT},
    "vstar": {
        "image": IMAGE, "text": TEXT, "label": TEXT, "question_id": TEXT, "category": TEXT,
    },
}  # fmt: skip
NAMES = {
    "chartqa": ["data/test-00000-of-00001.parquet"],
    "docvqa": [f"DocVQA/validation-0000{i}-of-00002.parquet" for i in range(2)],
    "ocrbench": ["data/test-00000-of-00001.parquet"],
    "pope": [f"data/test-0000{i}-of-00003-f4b3.parquet" for i in range(3)],
    "realworldqa": [f"data/test-0000{i}-of-00002.parquet" for i in range(2)],
    "vstar": ["data/test-00000-of-00001.parquet"],
}


def picture(index, form="PNG", mode="RGB"):
    """An encoded synthetic picture."""
    buffer = io.BytesIO()
    Image.fromarray(generate("test", 1, index).picture).convert(mode).save(buffer, form)
    return buffer.getvalue()


def rows(name, count):
    """`count` rows of a data set."""
    return [_row(name, i) for i in range(count)]


def _row(name, i):
    asked = generate("test", 1, i).questions
    question, answer = asked[0].text, asked[0].answer
    form = ("PNG", "JPEG")[i % 2]
    image = {"bytes": picture(i, form), "path": f"{i}.{form.lower()}"}
    return {
        "chartqa": {
            "type": ("human_test", "augmented_test")[i % 2],
            "question": question, "answer": answer, "image": image,
        },
        "docvqa": {
            "questionId": str(1000 + i), "question": question, "question_types": ["form"],
            "image": image, "docId": i, "ucsf_document_id": "x", "ucsf_document_page_no": "1",
            "answers": [answer, answer.lower()], "data_split": "val",
        },
        "ocrbench": {
            "dataset": ("IIIT5K", "HME100k")[i % 2], "question": question,
            "question_type": "Regular Text Recognition", "answer": [answer], "image": image,
        },
        "pope": {
            "id": str(i), "question_id": str(i % 3), "question": "Is there a red circle?",
            "answer": ("yes", "no")[i % 2], "image_source": "x", "image": image,
            "category": ("adversarial", "popular", "random")[i % 3],
        },
        "realworldqa": {
            "image": image, "question": f"{question}\nA. {answer}\nB. Nothing", "answer": "A",
        },
        "vstar": {
            "image": image, "text": f"{question} (A) {answer} (B) Nothing", "label": "A",
            "question_id": str(i), "category": "direct_attributes",
        },
    }[name]  # fmt: skip


def write(folder, name, data, *, group=4, schema=None):
    """Write rows as the published repository's files, evenly, `group` rows a row group."""
    schema = schema or pa.schema(list(SCHEMAS[name].items()))
    features = {"info": {"features": {"image": {"_type": "Image"}}}}
    schema = schema.with_metadata({"huggingface": json.dumps(features)})
    share = -(-len(data) // len(NAMES[name]))
    paths = []
    for i, file in enumerate(NAMES[name]):
        path = Path(folder) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(data[i * share : (i + 1) * share], schema=schema)
        pq.write_table(table, path, row_group_size=group)
        paths.append(path)
    return paths


def write_all(folder, count=12):
    """All six, each under its own name."""
    for name in BENCHMARKS:
        write(Path(folder) / name, name, rows(name, count))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=12)
    options = parser.parse_args()
    write_all(options.folder, options.rows)
