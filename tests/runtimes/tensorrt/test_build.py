"""Plans, and built engines on disk: a stale one is built again, never loaded."""

import json
import os
from dataclasses import fields, replace

import pytest

from awares_edge.errors import BundleError, ExportError, RuntimeUnavailable
from awares_edge.runtimes.tensorrt import Plan, build_engines, load_runtime
from awares_edge.runtimes.tensorrt.device import Cuda, Gpu
from awares_edge.runtimes.tensorrt.engine_cache import EngineCache, EngineKey
from awares_edge.runtimes.tensorrt.plan import Range
from awares_edge.runtimes.tensorrt.product import TensorRT, version_tuple
from tests.support.tensorrt_cpu import tiny_plan, write_bundle
from tests.support.tensorrt_fake import FakeCudart, fake_tensorrt
from tests.support.vision_spec import TINY_VISION

KEY = EngineKey("tensorrt", "10.3.0", 87, "plan", "graphs")
ENGINES = {"text": b"text engine", "vision": b"vision engine"}


class TestCache:
    def test_what_is_stored_is_found(self, tmp_path):
        cache = EngineCache(tmp_path)
        assert cache.find(KEY) is None
        cache.store(KEY, ENGINES.items())
        found = cache.find(KEY)
        assert {name: path.read_bytes() for name, path in found.items()} == ENGINES
        assert [path.name for path in tmp_path.iterdir()] == [KEY.name]

    @pytest.mark.parametrize("field", [f.name for f in fields(EngineKey)])
    def test_every_part_of_the_key_counts(self, tmp_path, field):
        cache = EngineCache(tmp_path)
        cache.store(KEY, ENGINES.items())
        other = replace(KEY, **{field: 86 if field == "capability" else "another"})
        assert other.name != KEY.name
        assert cache.find(other) is None

    def test_a_stale_index_under_the_right_name_is_not_believed(self, tmp_path):
        cache = EngineCache(tmp_path)
        folder = cache.store(KEY, ENGINES.items())
        body = json.loads((folder / "engines.json").read_text())
        body["key"]["version"] = "10.4.0"
        (folder / "engines.json").write_text(json.dumps(body))
        assert cache.find(KEY) is None

    @pytest.mark.parametrize("damage", ["changed", "gone", "index", "no index"])
    def test_a_damaged_engine_is_not_loaded(self, tmp_path, damage):
        cache = EngineCache(tmp_path)
        folder = cache.store(KEY, ENGINES.items())
        if damage == "changed":
            (folder / "text.engine").write_bytes(b"text engin!")
        elif damage == "gone":
            (folder / "vision.engine").unlink()
        elif damage == "index":
            (folder / "engines.json").write_text('{"version": 1, "key": []}')
        else:
            (folder / "engines.json").unlink()
        assert cache.find(KEY) is None

    def test_a_new_folder_belongs_to_this_user_whatever_the_umask(self, tmp_path):
        before = os.umask(0)
        try:
            cache = EngineCache(tmp_path / "cache")
            cache.store(KEY, ENGINES.items())
        finally:
            os.umask(before)
        assert cache.find(KEY)

    @pytest.mark.parametrize("which", ["cache", "engines"])
    def test_a_folder_that_others_can_write_to_is_not_used(self, tmp_path, which):
        cache = EngineCache(tmp_path / "cache")
        folder = cache.store(KEY, ENGINES.items())
        (cache.folder if which == "cache" else folder).chmod(0o777)
        assert cache.find(KEY) is None

    def test_storing_again_replaces(self, tmp_path):
        cache = EngineCache(tmp_path)
        cache.store(KEY, ENGINES.items())
        cache.store(KEY, {**ENGINES, "text": b"new"}.items())
        assert cache.find(KEY)["text"].read_bytes() == b"new"
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_failed_store_leaves_nothing(self, tmp_path):
        cache = EngineCache(tmp_path)
        with pytest.raises(TypeError):
            cache.store(KEY, [("text", b"x"), ("vision", None)])
        assert list(tmp_path.iterdir()) == []

    def test_the_folder_can_be_chosen(self, monkeypatch, tmp_path):
        monkeypatch.setenv("AWARES_EDGE_CACHE", str(tmp_path))
        assert EngineCache().folder == tmp_path / "engines"


class TestBuilding:
    @pytest.fixture
    def bundle(self, tmp_path, source):
        return write_bundle(tmp_path / "bundle", source, "fp32")

    def build(self, bundle, tmp_path, version="10.3.0", capability=87, warnings=(), **options):
        cudart = FakeCudart(capability)
        trt = fake_tensorrt(cudart, version, warnings=warnings)
        built = build_engines(
            bundle, engines=tmp_path / "engines", trt=trt, cuda=Cuda(cudart=cudart), **options
        )
        return built, trt.module.parsed

    def test_built_once(self, bundle, tmp_path):
        built, builds = self.build(bundle, tmp_path)
        assert (built.fresh, builds) == (True, ["text", "vision"])
        built, builds = self.build(bundle, tmp_path)
        assert (built.fresh, builds) == (False, [])
        built, builds = self.build(bundle, tmp_path, force=True)
        assert (built.fresh, builds) == (True, ["text", "vision"])

    def test_another_version_builds_again(self, bundle, tmp_path):
        self.build(bundle, tmp_path)
        built, builds = self.build(bundle, tmp_path, version="10.3.1")
        assert (built.fresh, builds) == (True, ["text", "vision"])

    def test_progress_names_the_graph(self, bundle, tmp_path):
        told = []
        self.build(bundle, tmp_path, progress=lambda *line: told.append(line))
        assert told[:3] == [
            ("text: Building", 0, 2),
            ("text: Building", 1, 2),
            ("text: Building", 2, 2),
        ]

    def test_ctrl_c_ends_a_build_and_keeps_nothing(self, bundle, tmp_path):
        def interrupt(*_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.build(bundle, tmp_path, progress=interrupt)
        assert not list((tmp_path / "engines").glob("tensorrt-*"))

    def test_a_warning_that_something_is_left_out_is_an_error(self, bundle, tmp_path):
        with pytest.raises(ExportError, match="would leave out part of text: Unused Input"):
            self.build(bundle, tmp_path, warnings=["Unused Input: nonpad_kv_seqlen"])
        assert list((tmp_path / "engines").iterdir()) == []

    @pytest.mark.parametrize(
        ("version", "capability", "message"),
        [
            ("8.6.1", 87, "for tensorrt 10.3 to 10.14, here is 8.6.1"),
            ("10.15.1", 87, "here is 10.15.1"),
            ("10.3.0", 89, r"for test \(SM 8.7\), Fake GPU has SM 8.9"),
        ],
    )
    def test_a_bundle_for_something_else_is_refused(
        self, bundle, tmp_path, version, capability, message
    ):
        with pytest.raises(RuntimeUnavailable, match=message):
            self.build(bundle, tmp_path, version=version, capability=capability)

    def test_only_rtx_builds_ahead(self, bundle, tmp_path):
        with pytest.raises(ExportError, match="only TensorRT-RTX builds ahead"):
            self.build(bundle, tmp_path, ahead_for=89)

    def test_without_an_engine_the_runtime_says_how_to_build_it(self, bundle, tmp_path):
        cudart = FakeCudart()
        parts = {"trt": fake_tensorrt(cudart), "cuda": Cuda(cudart=cudart)}
        with pytest.raises(RuntimeUnavailable, match=r"no engine for Fake GPU.*build-engine"):
            load_runtime(bundle, engines=tmp_path / "none", **parts)


class TestPlan:
    def test_round_trip(self):
        plan = tiny_plan("int8")
        assert Plan.from_json(plan.to_json()) == plan

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"version": 2}, "another version"),
            ({"form": "trt-kv"}, "'trt-kv' are not supported: export the checkpoint again"),
            ({"prefill": {"min": 4, "opt": 2, "max": 8}}, "prefill must satisfy"),
            ({"kept": 0}, "out of range"),
            ({"cache_length": 4}, "out of range"),
            ({"surprise": 1}, "unknown field"),
        ],
    )
    def test_a_bad_plan_is_refused(self, change, message):
        body = {**json.loads(tiny_plan("fp16").to_json()), **change}
        with pytest.raises(BundleError, match=message):
            Plan.from_json(json.dumps(body))

    def test_a_plan_may_name_the_graph_form_that_is_left(self):
        plan = tiny_plan("fp16")
        body = {**json.loads(plan.to_json()), "form": "trt-legacy"}
        assert Plan.from_json(json.dumps(body)) == plan

    def test_not_json(self):
        with pytest.raises(BundleError, match="not JSON"):
            Plan.from_json("{")

    def test_profiles_of_the_text_graph(self):
        plan = tiny_plan("fp16", prefill=Range(1, 16, 32))
        decode, prefill = plan.text_profiles()
        assert decode["attention_mask"] == ((1, 1, 1, 193),) * 3
        assert prefill["attention_mask"][2] == (1, 1, 32, 224)
        assert prefill["logits_index"] == ((1,), (1,), (4,))
        assert decode["logits_index"] == ((1,),) * 3
        (only,) = replace(plan, decode_profile=False).text_profiles()
        assert only == prefill

    def test_profiles_of_the_vision_graph(self):
        profile = tiny_plan("fp16").vision_profile(TINY_VISION)
        assert profile["pixel_values"] == ((4, 1176), (64, 1176), (512, 1176))
        assert profile["token_place"] == ((1,), (16,), (128,))
        assert profile["window_mask"][2] == (32, 1, 64, 64)


@pytest.mark.parametrize(
    ("text", "numbers"), [("10.3.0.26", (10, 3, 0, 26)), ("11.4", (11, 4)), ("1.7.dev", (1, 7))]
)
def test_versions(text, numbers):
    assert version_tuple(text) == numbers


def test_a_span_includes_every_patch_of_its_ends():
    plan, gpu = tiny_plan("fp16", tensorrt=("10.3", "10.14")), Gpu("Fake GPU", 87)
    for version in ("10.3.0", "10.14.9.9"):
        plan.check_device(TensorRT("tensorrt", version, None), gpu)
    with pytest.raises(RuntimeUnavailable):
        plan.check_device(TensorRT("tensorrt", "10.15.0", None), gpu)
