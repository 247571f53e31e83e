"""`--domain`: what it reads, and the sentence for what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.test_main import invoke
from tests.unit.machine.samples import plain_image
from vel2.cli.domains import parse_domain
from vel2.cli.exits import ExitCode
from vel2.errors import UserError


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Image").write_bytes(plain_image())
    Path("xen").write_bytes(plain_image(b"xen,domain\0" + bytes(100)))
    Path("a,b.cpio").write_bytes(b"cpio")


@pytest.mark.usefixtures("files")
def test_all_keys() -> None:
    domain = parse_domain(
        "domU1,kernel=Image,ramdisk=a,,b.cpio,append=console=ttyAMA0,,115200 quiet,memory=256M,"
        "cpus=2"
    )
    assert (domain.name, domain.kernel, domain.ramdisk) == ("domU1", plain_image(), b"cpio")
    assert domain.append == "console=ttyAMA0,115200 quiet"
    assert (domain.memory_bytes, domain.cpus) == (256 << 20, 2)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dom0", "the domain 'dom0' has no kernel=; give NAME,kernel=...,ramdisk=...,append=...,"),
        (
            "dom0,kernel=Image,console=hvc0,x",
            "the domain 'dom0,kernel=Image,console=hvc0,x' has 'console=hvc0', which is none of"
            " kernel=, ramdisk=, append=, memory=, cpus=; give NAME,",
        ),
        (
            "dom0,kernel=Image,kernel=Image",
            "the domain 'dom0,kernel=Image,kernel=Image' gives kernel= twice; give NAME,",
        ),
        ("domU,kernel=Image,cpus=two", "the domain 'domU,kernel=Image,cpus=two' has 'two' cpus,"),
        ("domU,kernel=Image,memory=lots", "'lots' is not a size: "),
        ("dom0,kernel=none", "'none' is neither a file nor a kernel on offer; give a path, or"),
        ("dom0,kernel=Image,ramdisk=none", "the ramdisk of dom0 none does not exist;"),
        (",kernel=Image", "a domain cannot be called ''; "),
    ],
)
def test_what_is_wrong_with_it(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_domain(text)
    assert str(caught.value).startswith(said)


@pytest.mark.usefixtures("files")
def test_xen_with_vhe_is_refused_before_it_hangs() -> None:
    result = invoke("run", "--kernel", "xen")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == (
        "vel2: Xen does not run with FEAT_VHE, which --el2 vhe --nv nv2 makes it use;"
        " give --el2 nvhe (or --nv nv, where a guest hypervisor chooses by itself).\n"
    )
