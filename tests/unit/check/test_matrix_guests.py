"""The recipes of the guest matrix: complete, and each row expects what its kernel says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.check.matrix import COMBINATIONS, Combination, Recipe, select
from vel2.check.matrix_firmware import for_u_boot, for_uefi
from vel2.check.matrix_guests import QUICK, RECIPES
from vel2.guests.kernels import OFFERS

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


def console(
    mode: str, *, userspace: str = "L2| ##vel2 l2.userspace=ok", status: int = 0, cpus: int = 1
) -> list[str]:
    """Give the marker lines of a run."""
    return [
        f"##vel2 l1.cpus={cpus}",
        f"##vel2 l1.kvm_mode={mode}",
        userspace,
        f"L2| ##vel2 l2.cpus={cpus}",
        f"##vel2 l1.vmm_status={status}",
    ]


def complaints(recipe: Recipe, at: Combination, lines: list[str], cpus: int = 1) -> list[str]:
    return recipe.complaints(at, lines, cpus)


def test_names() -> None:
    assert len(BY_NAME) == len(RECIPES)
    for kernel in ("6.1", "6.12", "7"):
        assert {f"linux-{kernel}{mode}" for mode in ("", "-nvhe", "-protected")} <= set(BY_NAME)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_is_complete(recipe: Recipe) -> None:
    assert set(recipe.needs) <= set(OFFERS)
    for at in COMBINATIONS:
        assert recipe.signs(at, 1)
    for at, declined in recipe.inapplicable.items():
        assert at in COMBINATIONS
        assert declined.reason and not declined.reason.endswith(".")


@pytest.mark.parametrize(
    ("name", "el2", "mode"),
    [
        ("linux-6.1", "vhe", "VHE"),
        ("linux-6.1", "nvhe", "Hyp"),
        ("linux-6.12", "vhe", "VHE"),
        ("linux-6.12", "nvhe", "Hyp nVHE"),
        ("linux-7", "nvhe", "Hyp nVHE"),
        ("linux-6.1-nvhe", "vhe", "Hyp"),
        ("linux-6.12-nvhe", "vhe", "Hyp nVHE"),
        ("linux-7-nvhe", "nvhe", "Hyp nVHE"),
        ("linux-6.1-protected", "vhe", "Protected nVHE"),
        ("linux-6.12-protected", "vhe", "Protected hVHE"),
        ("linux-7-protected", "vhe", "Protected hVHE"),
        ("linux-7-protected", "nvhe", "Protected nVHE"),
    ],
)
def test_each_row_insists_on_its_mode(name: str, el2: str, mode: str) -> None:
    recipe, at = BY_NAME[name], Combination(Kind(el2), Level.NV)
    assert complaints(recipe, at, console(mode)) == []
    for other in {"VHE", "Hyp", "Hyp nVHE", "Protected nVHE", "Protected hVHE", "none"} - {mode}:
        said = complaints(recipe, at, console(other))
        assert said == [f"KVM's mode is not {mode}: {other}"]


def test_a_row_insists_on_l2() -> None:
    recipe, at = BY_NAME["linux-6.12"], COMBINATIONS[0]
    assert complaints(recipe, at, console("VHE", userspace="")) == ["L2 did not reach user space"]
    assert complaints(recipe, at, console("VHE", status=3)) == [
        "the VMM in L1 did not end with status 0: 3"
    ]
    assert len(complaints(recipe, at, [])) == 5


def test_a_row_insists_on_the_cpus_of_both_levels() -> None:
    recipe, at = BY_NAME["linux-6.12"], COMBINATIONS[0]
    assert complaints(recipe, at, console("VHE", cpus=2), 2) == []
    assert complaints(recipe, at, console("VHE", cpus=1), 2) == [
        "L1 has not 2 CPUs: 1",
        "L2 has not 2 CPUs: 1",
    ]


def test_l2_cannot_speak_for_l1() -> None:
    relayed = [f"L2| {line}" for line in console("VHE")]
    assert len(complaints(BY_NAME["linux-6.12"], COMBINATIONS[0], relayed)) == 5


def test_where_linux_does_not_apply() -> None:
    """Only the modes that need E2H=0 where E2H is RES1; a boot shows it where the kernel tells."""
    vhe_nv2 = Combination(Kind.VHE, Level.NV2)
    found = {
        name: set(recipe.inapplicable) for name, recipe in BY_NAME.items() if recipe.inapplicable
    }
    assert {name: at for name, at in found.items() if name.startswith("linux-")} == {
        "linux-6.1-nvhe": {vhe_nv2},
        "linux-6.1-protected": {vhe_nv2},
        "linux-6.12-nvhe": {vhe_nv2},
        "linux-7-nvhe": {vhe_nv2},
    }
    for name in ("linux-6.12-nvhe", "linux-7-nvhe"):
        (sign,) = BY_NAME[name].inapplicable[vhe_nv2].signs
        assert sign.complaint(["##vel2 l1.kvm_mode=VHE"]) == ""
        assert sign.complaint(["##vel2 l1.kvm_mode=Hyp nVHE"]) == "KVM's mode is not VHE: Hyp nVHE"


XEN_SAYS = [
    "(XEN) Xen version 4.20.0 (Debian)",
    "##vel2 l2.userspace=ok",
    "##vel2 l2.el=EL1",
    "##vel2 l2.cpus=1",
    "(XEN) Hardware Dom0 halted: halting machine",
]
APART = """\
(XEN) Xen version 4.20.0 (Debian)
(XEN) DOM2: ##vel2 l2.userspace=ok
(XEN) ##vel2 l2.DOM2: ##vel2 l2.el=EL1
(XEN) userspace=ok
(XEN) ##vel2 l2.el=EL1DOM2: ##vel2 l2.cpus=1
(XEN) 
(XEN) DOM2: ##vel2 l2.end=6.37
(XEN) ##vel2 l2.cpus=1
(XEN) 
(XEN) DOM2: [    6.714414] reboot: Power down
(XEN) ##vel2 l2.end=6.44
""".splitlines()


@pytest.mark.parametrize("missing", range(len(XEN_SAYS)))
def test_xen_has_to_show_all(missing: int) -> None:
    recipe, at = BY_NAME["xen-4.20"], Combination(Kind.NVHE, Level.NV)
    assert complaints(recipe, at, XEN_SAYS) == []
    assert len(complaints(recipe, at, XEN_SAYS[:missing] + XEN_SAYS[missing + 1 :])) == 1


XL_SAYS = [
    "(XEN) Xen version 4.20.0 (Debian)",
    "##vel2 dom0.userspace=ok",
    "##vel2 dom0.cpus=1",
    "##vel2 dom0.services_status=0",
    "##vel2 dom0.xl_status=0",
    "domU| ##vel2 l2.userspace=ok",
    "domU| ##vel2 l2.cpus=1",
    "(XEN) Hardware Dom0 halted: halting machine",
]


@pytest.mark.parametrize("missing", range(len(XL_SAYS)))
def test_xl_has_to_show_all(missing: int) -> None:
    recipe, at = BY_NAME["xen-4.20-xl"], Combination(Kind.NVHE, Level.NV)
    assert complaints(recipe, at, XL_SAYS) == []
    assert len(complaints(recipe, at, XL_SAYS[:missing] + XL_SAYS[missing + 1 :])) == 1
    failed = [line.replace("xl_status=0", "xl_status=134") for line in XL_SAYS]
    assert complaints(recipe, at, failed) == ["xl did not end with status 0: 134"]


def test_another_xen_is_not_the_one_asked_for() -> None:
    recipe, at = BY_NAME["xen-4.17"], Combination(Kind.NVHE, Level.NV)
    assert complaints(recipe, at, XEN_SAYS) == ["Xen 4.17 did not start"]


def test_two_domains_are_told_apart() -> None:
    """One's lines are cut where the other's came in between."""
    recipe, at = BY_NAME["xen-4.20-dom0less"], Combination(Kind.NVHE, Level.NV)
    assert complaints(recipe, at, APART) == []
    without_first_end = APART[:-1]
    assert complaints(recipe, at, without_first_end) == ["domU1 did not come to its end"]
    without_second = [line for line in APART if "DOM2: ##vel2 l2.end" not in line]
    assert "domU2 did not come to its end" in complaints(recipe, at, without_second)


def test_where_xen_does_not_apply() -> None:
    """It is not booted there: it would hang."""
    for name, recipe in BY_NAME.items():
        if name.startswith("xen-"):
            (declined,) = recipe.inapplicable.values()
            assert set(recipe.inapplicable) == {Combination(Kind.VHE, Level.NV2)}
            assert declined.signs == () and "--el2 nvhe" in declined.reason


@pytest.mark.parametrize("name", ["u-boot", "edk2"])
def test_firmware_has_to_show_itself_and_what_it_boots(name: str) -> None:
    recipe, at = BY_NAME[name], Combination(Kind.NVHE, Level.NV)
    said = {
        "u-boot": ["U-Boot 2025.01-3 (Jun 24 2026)", "Retrieving file: /root.cpio"],
        "edk2": [
            "UEFI firmware (version 2025.02-8 built at 18:06:17 on Nov  8 2025)",
            "EFI stub: Using DTB from configuration table",
        ],
    }
    lines = [*said[name], *console("Hyp nVHE")]
    assert complaints(recipe, at, lines) == []
    for missing in range(len(lines)):
        assert len(complaints(recipe, at, lines[:missing] + lines[missing + 1 :])) == 1


def test_what_firmware_finds_on_its_disk(tmp_path: Path) -> None:
    for_u_boot(tmp_path)
    for_uefi(tmp_path)
    conf = (tmp_path / "extlinux/extlinux.conf").read_text()
    assert re.search(r"^  append .*job=l2$", conf, re.M)
    script = (tmp_path / "startup.nsh").read_bytes()
    assert script.startswith(b"fs0:\r\nImage initrd=\\root.cpio ")
    assert script.endswith(b" job=l2\r\n")


def test_the_quick_cells() -> None:
    """Few, and every combination among them."""
    cells = select(RECIPES, only=QUICK)
    assert len(cells) == len(QUICK) == 6
    assert {cell.at for cell in cells} == set(COMBINATIONS)
    assert not any(cell.at in cell.recipe.inapplicable for cell in cells)
