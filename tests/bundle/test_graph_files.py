"""A graph reads only listed files, however it names another one."""

import json
import shutil
from dataclasses import asdict

import pytest

import awares_edge
from awares_edge.api import embedded_bundle
from awares_edge.bundle import Bundle, graph_files
from awares_edge.bundle.graph_files import MAX_FIELDS, check_graph_file
from awares_edge.bundle.store import hash_file
from awares_edge.errors import BundleError
from awares_edge.spec import MANIFEST_NAME

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra export)")
helper, TensorProto = onnx.helper, onnx.TensorProto


def external(name="w", location="w.data", offset="0", length="16", **more):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def graph(*initializers, nodes=()):
    return helper.make_graph(list(nodes), "g", [], [], list(initializers))


def check(tmp_path, model, name="g.onnx", sizes=None):
    data = model if isinstance(model, bytes) else model.SerializeToString()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(data)
    check_graph_file(tmp_path, name, {name: len(data), **(sizes or {"w.data": 16})})


def model(*initializers, nodes=(), **more):
    return helper.make_model(graph(*initializers, nodes=nodes), **more)


@pytest.mark.parametrize(
    "location",
    ["../w.data", "/etc/passwd", "other.data", "", "./w.data", "*/_ORT_MEM_ADDR_/*", "a/w.data"],
)
def test_a_file_that_is_not_listed(tmp_path, location):
    check(tmp_path, model(external()))
    with pytest.raises(BundleError, match=r"g\.onnx reads the file .* does not list") as caught:
        check(tmp_path, model(external(), external("v", location)))
    assert "\n" not in str(caught.value)


def test_a_large_graph_is_mapped_and_checked_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_files, "_READ_BYTES", 0)
    check(tmp_path, model(external()))
    with pytest.raises(BundleError, match="does not list"):
        check(tmp_path, model(external(location="x.data")))


def test_a_graph_in_a_folder_reads_the_files_beside_it(tmp_path):
    check(tmp_path, model(external()), "f/g.onnx", {"f/w.data": 16})
    with pytest.raises(BundleError, match="does not list"):
        check(tmp_path, model(external()), "f/g.onnx", {"w.data": 16})


@pytest.mark.parametrize(
    "place",
    [
        lambda t: model(nodes=[helper.make_node("Constant", [], ["c"], value=t)]),
        lambda t: model(nodes=[helper.make_node("If", ["c"], ["o"], then_branch=graph(t))]),
        lambda t: model(
            functions=[
                helper.make_function(
                    "d", "F", [], ["c"], [helper.make_node("Constant", [], ["c"], value=t)], []
                )
            ]
        ),
        lambda t: onnx.ModelProto(graph=onnx.GraphProto(
            sparse_initializer=[onnx.SparseTensorProto(values=t)])),
        lambda t: onnx.ModelProto(training_info=[onnx.TrainingInfoProto(algorithm=graph(t))]),
    ],
    ids=["attribute", "subgraph", "function", "sparse", "training"],
)  # fmt: skip
def test_wherever_a_tensor_is(tmp_path, place):
    check(tmp_path, place(external()))
    with pytest.raises(BundleError, match="does not list"):
        check(tmp_path, place(external(location="x.data")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offset": "1"}, "beyond the end"),
        ({"length": "17"}, "beyond the end"),
        ({"offset": "-1"}, "damaged weight location"),
        ({"length": "1" * 30}, "damaged weight location"),
        ({"offset": "٣"}, "damaged weight location"),
    ],
)
def test_bytes_that_the_file_does_not_have(tmp_path, changes, message):
    with pytest.raises(BundleError, match=message):
        check(tmp_path, model(external(**changes)))


def field(number, data):
    """A length-delimited protobuf field of under 128 bytes."""
    return bytes([number << 3 | 2, len(data)]) + data


ENTRY = field(1, b"location") + field(2, b"w.data")


@pytest.mark.parametrize(
    "entry",
    [
        field(2, b"/etc/passwd") + field(1, b"location"),
        field(1, b"location") + field(2, b"/etc/passwd") + field(2, b"w.data"),
        field(1, b"x") + field(1, b"location") + field(2, b"/etc/passwd"),
        bytes([1 << 3 | 2, 0x88, 0]) + b"location" + field(2, b"/etc/passwd"),
        field(1, b"location"),
        ENTRY + field(3, b"x"),
    ],
    ids=["swapped", "value twice", "key twice", "long length", "no value", "another field"],
)
def test_an_entry_in_a_form_that_no_serializer_writes(tmp_path, entry):
    def wrapped(inner):
        return field(7, field(5, field(13, inner)))

    check(tmp_path, wrapped(ENTRY))
    with pytest.raises(BundleError, match="not an ONNX graph of this tool"):
        check(tmp_path, wrapped(entry))
    with pytest.raises(BundleError, match="not an ONNX graph of this tool"):
        check(tmp_path, field(7, field(5, field(13, ENTRY) + field(13, ENTRY))))


def test_a_field_number_that_protobuf_cuts_to_another_one(tmp_path):
    tensor = field(13, field(1, b"location") + field(2, b"x.data"))
    initializer = bytes([0xAA, 0x80, 0x80, 0x80, 0x10, len(tensor)]) + tensor
    seen = onnx.ModelProto.FromString(field(7, field(5, tensor))).graph.initializer
    assert seen[0].external_data[0].value == "x.data"
    with pytest.raises(BundleError, match="not an ONNX graph of this tool"):
        check(tmp_path, field(7, initializer))


def test_a_compiled_engine_is_refused(tmp_path):
    node = helper.make_node("EPContext", [], ["o"], domain="com.microsoft", ep_cache_context="/x")
    with pytest.raises(BundleError, match="compiled engine"):
        check(tmp_path, model(nodes=[node]))


@pytest.mark.parametrize(
    "data",
    [
        b"location",
        b"\x3b\x3c" + b"location",  # a group
        b"\xff" * 20 + b"location",
        field(7, b"location" * 3),
        b"\x3a\xff\xff\xff\xff\x0f" + b"location",
        bytes([0x08, 0x01] * (MAX_FIELDS + 1)) + b"location",
    ],
)
def test_what_is_no_protobuf(tmp_path, data):
    with pytest.raises(BundleError, match="not an ONNX graph of this tool"):
        check(tmp_path, data)
    with pytest.raises(BundleError, match="is empty"):
        check(tmp_path, b"")


def test_deeply_nested_graphs(tmp_path):
    def large(number, data):
        length = len(data)
        return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7]) + data

    inner = large(5, large(13, ENTRY))
    for _ in range(40):  # graph, node, attribute, graph, ...
        inner = large(1, large(5, large(6, inner)))
    with pytest.raises(BundleError, match="not an ONNX graph of this tool"):
        check(tmp_path, large(7, inner))


@pytest.mark.parametrize("verify", [True, False])
def test_weights_left_off_the_list_are_never_loaded(tmp_path, verify):
    root = shutil.copytree(embedded_bundle(), tmp_path / "bundle")
    manifest = json.loads((root / MANIFEST_NAME).read_text())
    del manifest["files"]["text.data"]
    (root / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"text.*\.onnx reads the file 'text\.data', which"):
        awares_edge.load(root, verify=verify)


def test_the_tied_head_reads_the_embedding_which_is_listed(tmp_path):
    root = shutil.copytree(embedded_bundle(), tmp_path / "bundle")
    assert b"embedding.npy" in (root / "text.onnx").read_bytes()
    Bundle.open(root)
    (root / "extra.data").write_bytes((root / "embedding.npy").read_bytes())
    moved = (root / "text.onnx").read_bytes().replace(b"embedding.npy", b"../extra.data")
    (root / "text.onnx").write_bytes(moved)
    manifest = json.loads((root / MANIFEST_NAME).read_text())
    manifest["files"]["text.onnx"] = asdict(hash_file(root / "text.onnx"))
    (root / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"'\.\./extra\.data'"):
        Bundle.open(root)
