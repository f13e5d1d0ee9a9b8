"""Energy, heat and memory, read from made-up trees."""

import time

import pytest

from awares_edge.evaluation.machine import describe_machine, governor, power_mode
from awares_edge.evaluation.profile.sensors import (
    Heat,
    RailMeter,
    RaplMeter,
    find_meter,
    read_heat,
    read_memory,
)


def write(root, **files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))


def rapl(root, number, energy, name="package-0", most=1000):
    folder = f"sys/class/powercap/intel-rapl:{number}"
    write(
        root,
        **{
            f"{folder}/name": f"{name}\n",
            f"{folder}/energy_uj": f"{energy}\n",
            f"{folder}/max_energy_range_uj": f"{most}\n",
        },
    )


def rail(root, number, label, millivolts, milliamperes, chip="1-0040"):
    folder = f"sys/bus/i2c/devices/{chip}/hwmon/hwmon1"
    write(
        root,
        **{
            f"{folder}/in{number}_label": f"{label}\n",
            f"{folder}/in{number}_input": millivolts,
            f"{folder}/curr{number}_input": milliamperes,
        },
    )


def test_without_a_sensor_there_is_a_reason_and_no_meter(tmp_path):
    assert find_meter(tmp_path) == (None, "no energy sensor here (RAPL or INA)")


def test_rapl_sums_packages_and_leaves_their_parts_out(tmp_path):
    rapl(tmp_path, "0", 100_000_000)
    rapl(tmp_path, "1", 5_000_000, "package-1")
    rapl(tmp_path, "0:0", 7_000_000, "core")
    rapl(tmp_path, "2", 9_000_000, "psys")
    meter, _ = find_meter(tmp_path)
    assert isinstance(meter, RaplMeter)
    assert meter.source == "RAPL, 2 packages"
    meter.start()
    rapl(tmp_path, "0", 102_500_000)
    rapl(tmp_path, "1", 6_000_000, "package-1")
    assert meter.stop() == pytest.approx(3.5)


def test_a_rapl_counter_may_wrap(tmp_path):
    rapl(tmp_path, "0", 900_000, most=1_000_000)
    meter, _ = find_meter(tmp_path)
    meter.start()
    rapl(tmp_path, "0", 100_000, most=1_000_000)
    assert meter.stop() == pytest.approx(0.2)


def test_a_counter_that_cannot_be_read_is_named(tmp_path):
    rapl(tmp_path, "0", 1)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    meter, reason = find_meter(tmp_path)
    assert meter is None
    assert "energy_uj is readable for the superuser only" in reason


def test_a_total_rail_counts_alone(tmp_path):
    rail(tmp_path, 1, "VDD_IN", 5000, 2000)
    rail(tmp_path, 2, "VDD_CPU_GPU_CV", 5000, 900)
    meter, _ = find_meter(tmp_path)
    assert meter.source == "INA, VDD_IN"


def test_without_a_total_rails_are_summed_and_false_ones_skipped(tmp_path):
    rail(tmp_path, 1, "GPU", 5000, 1000)
    rail(tmp_path, 2, "CPU", 5000, 500)
    rail(tmp_path, 3, "NC", 5000, 9000)
    rail(tmp_path, 4, "sum of shunt voltages", 5000, 9000)
    meter, _ = find_meter(tmp_path)
    assert isinstance(meter, RailMeter)
    assert meter.source == "INA, GPU, CPU"
    before = time.monotonic()
    meter.start()
    time.sleep(0.1)
    joules = meter.stop()
    most = 7.5 * (time.monotonic() - before)
    assert 7.5 * 0.1 * 0.95 <= joules <= most


def test_heat_is_the_hottest_zone(tmp_path):
    cpu = "sys/devices/system/cpu"
    write(
        tmp_path,
        **{
            "sys/class/thermal/thermal_zone0/temp": 45_500,
            "sys/class/thermal/thermal_zone1/temp": 61_250,
            "sys/class/thermal/thermal_zone2/temp": -256_000,
            "sys/class/thermal/thermal_zone3/temp": "nothing",
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": 1_500_000,
            f"{cpu}/cpu1/cpufreq/scaling_cur_freq": 1_000_000,
            f"{cpu}/cpu0/thermal_throttle/core_throttle_count": 3,
            f"{cpu}/cpu0/thermal_throttle/package_throttle_count": 4,
        },
    )
    assert read_heat(tmp_path) == Heat(61.25, 1250.0, 7)


def test_what_is_not_reported_is_none(tmp_path):
    assert read_heat(tmp_path) == Heat(None, None, None)
    memory = read_memory(tmp_path)
    assert (memory.peak, memory.resident, memory.anonymous) == (None, None, None)
    machine = describe_machine(tmp_path)
    assert machine["board"] is machine["governor"] is machine["power_mode"] is None


def test_memory_of_this_process():
    memory = read_memory()
    assert memory.peak >= memory.resident >= memory.anonymous > 1_000_000


def test_the_machine_says_what_it_is(tmp_path):
    cpu = "sys/devices/system/cpu"
    write(
        tmp_path,
        **{
            "proc/device-tree/model": "NVIDIA Jetson Orin Nano\0",
            "proc/cpuinfo": "processor : 0\nmodel name : ARMv8 Processor\n",
            "proc/meminfo": "MemTotal:  8000000 kB\n",
            f"{cpu}/cpu0/cpufreq/scaling_governor": "schedutil\n",
            f"{cpu}/cpu1/cpufreq/scaling_governor": "performance\n",
            "sys/firmware/acpi/platform_profile": "balanced\n",
        },
    )
    machine = describe_machine(tmp_path)
    assert machine["board"] == "NVIDIA Jetson Orin Nano"
    assert machine["cpu"] == "ARMv8 Processor"
    assert machine["memory_mb"] == 8192
    assert governor(tmp_path) == "performance, schedutil"
    assert power_mode(tmp_path) == "balanced"
