"""What the small guests run as process 1: busybox shell scripts.

The kernel passes words of its command line that it does not know, such as `job=l2`, to init as
environment variables. That is how the host selects the work.
"""

__all__ = (
    "KEXEC_INIT",
    "KVM_L0_INIT",
    "L1_INIT",
    "L1_JOBS",
    "L2_COMMAND",
    "L2_INIT",
    "QEMU_PATH",
    "WELCOME",
)

L1_JOBS = ("l2", "qemu", "observe", "shell", "command", "none")
"""What `job=` may be in L1: start L2 with our VMM or with QEMU; use PMU and debug registers, then
do so in L2; a shell on the console; run `command=`; or nothing."""

QEMU_PATH = "/usr/bin/qemu-system-aarch64"

COMMON = """\
#!/bin/sh
export PATH=/bin HOME=/ TERM="${TERM:-vt100}"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mark() { echo "##vel2 $1=$2"; }
uptime() { cut -d ' ' -f 1 /proc/uptime; }
# Use PMU and debug registers as perf and gdb do, on a function of the kernel too.
observe() { /observe "$1" "$(awk '$3 == "__arm64_sys_getppid" { print $1 }' /proc/kallsyms)"; }
# The kernel's messages share the console with ours and could break a line in two.
dmesg -n 1
"""

# The kernel names the mode in one of these ways: "VHE mode", "Hyp mode", "Hyp nVHE mode",
# "Protected nVHE mode", "Protected hVHE mode", each "initialized successfully".
#
# QEMU's serial port is its standard output, which gets the prefix that our VMM puts itself; its own
# complaints are L1's.
L1_INIT = (
    COMMON
    + r"""
# Marks are for programs; a shell is for a person, who is shown the same in words.
[ "$job" = shell ] && mark() { :; }
mark l1.uptime "$(uptime)"
mark l1.kernel "$(uname -r)"
mark l1.machine "$(uname -m)"
mark l1.cpus "$(grep -c ^processor /proc/cpuinfo)"
mark l1.memory_kib "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
mark l1.el "$(dmesg | sed -n 's/.*CPU(s) started at \(EL[12]\).*/\1/p' | head -n 1)"
mode=$(dmesg | sed -n 's/.*kvm \[1\]: \(.*\) mode initialized successfully.*/\1/p' | head -n 1)
mark l1.kvm_mode "${mode:-none}"
[ -c /dev/kvm ] && mark l1.kvm_device yes || mark l1.kvm_device no
case "${job:-l2}" in
l2)
    mark l1.l2_start "$(uptime)"
    /vmm --kernel /l2/Image --initrd /l2/initrd --dtb /l2/dtb --memory "$(cat /l2/memory)" \
        --cpus "$(cat /l2/cpus)" ${huge_from:+--huge-from "$huge_from"} ${pin:+--pin "$pin"}
    mark l1.vmm_status $?
    mark l1.l2_end "$(uptime)"
    ;;
observe)
    observe l1
    /vmm --kernel /l2/Image --initrd /l2/initrd --dtb /l2/dtb --memory "$(cat /l2/memory)" \
        --pmu 23 --step 100
    mark l1.vmm_status $?
    ;;
qemu)
    mark l1.qemu "$(QEMU --version | sed -n 's/^QEMU emulator version //p')"
    mark l1.l2_start "$(uptime)"
    set -o pipefail
    QEMU -M virt,gic-version=3 -cpu host -accel kvm -m "$(cat /l2/memory)" \
        -smp "$(cat /l2/cpus)" \
        -nographic -nodefaults -serial stdio \
        -kernel /l2/Image -initrd /l2/initrd -append "$(cat /l2/bootargs)" \
        </dev/null | awk '{ print "L2| " $0; fflush() }'
    mark l1.vmm_status $?
    mark l1.l2_end "$(uptime)"
    ;;
shell)
    [ -f /welcome ] && LEVEL=L1 KVM_MODE="${mode:-none}" sh /welcome
    LEVEL=L1 PS1='L1# ' setsid cttyhack sh
    ;;
command)
    sh -c "$command"
    mark l1.command_status $?
    ;;
none) ;;
*) mark l1.error "job=$job is not one of l2, qemu, observe, shell, command, none" ;;
esac
mark l1.end "$(uptime)"
sync
poweroff -f
""".replace("QEMU -", f"{QEMU_PATH} -")
)

# The next kernel's check sum is left out (-i): with caches off it takes longer to compute than the
# boot that follows.
KEXEC_INIT = (
    COMMON
    + r"""
mark first.kernel "$(uname -r)"
mark first.cpus "$(grep -c ^processor /proc/cpuinfo)"
kexec -c -i -l /next/Image --initrd=/next/initrd --command-line="$(cat /next/bootargs)"
mark first.load_status $?
kexec -e
mark first.error "kexec came back with status $?"
poweroff -f
"""
)

KVM_L0_INIT = (
    COMMON
    + r"""
mark l0.kernel "$(uname -r)"
/vmm --kernel /l1/Image --initrd /l1/initrd --dtb /l1/dtb --memory "$(cat /l1/memory)" \
    --cpus "$(cat /l1/cpus)" --el2 "$(cat /l1/el2)" --label 'L1| '
mark l0.vmm_status $?
sync
poweroff -f
"""
)

L2_INIT = (
    COMMON
    + r"""
[ "$job" = shell ] && mark() { :; }
mark l2.userspace ok
mark l2.uptime "$(uptime)"
mark l2.kernel "$(uname -r)"
mark l2.el "$(dmesg | sed -n 's/.*CPU(s) started at \(EL[12]\).*/\1/p' | head -n 1)"
mark l2.cpus "$(grep -c ^processor /proc/cpuinfo)"
mark l2.memory_kib "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
case "${job:-check}" in
check)
    uname -a
    mark l2.sum "$(seq 1 1000 | awk '{ sum += $1 } END { print sum }')"
    [ ! -x /parallel ] || /parallel l2
    ;;
observe) observe l2 ;;
shell)
    [ -f /welcome ] && LEVEL=L2 sh /welcome
    LEVEL=L2 PS1='L2# ' setsid cttyhack sh
    ;;
command)
    sh -c "$command"
    mark l2.command_status $?
    ;;
none) ;;
*) mark l2.error "job=$job is not one of check, observe, shell, command, none" ;;
esac
mark l2.end "$(uptime)"
sync
poweroff -f
"""
)

# A terminal in raw mode gives every key to L2's UART, and L2's own terminal does the echo.
L2_COMMAND = r"""#!/bin/sh
# Start L2, a Linux guest of this Linux, under KVM.
guest() {
    dtb=$1
    shift
    /vmm --kernel /l2/Image --initrd /l2/initrd --dtb "$dtb" --memory "$(cat /l2/memory)" \
        --cpus "$(cat /l2/cpus)" "$@"
}
case "$1" in
'') guest /l2/dtb ;;
shell)
    settings=$(stty -g)
    stty raw -echo
    guest /l2/shell.dtb --keys 1
    status=$?
    stty "$settings"
    exit $status
    ;;
*)
    echo "usage: l2          boot L2, let it look around, and power it off
       l2 shell    boot L2 to a shell" >&2
    exit 2
    ;;
esac
"""

WELCOME = r"""#!/bin/sh
# Say where one is, and what can be tried.
echo
case "$LEVEL" in
L1)
    el=$(dmesg | sed -n 's/.*CPU(s) started at \(EL[12]\).*/\1/p' | head -n 1)
    cat <<END
This is L1: Linux $(uname -r), booted at $el. Its KVM: $KVM_MODE.

  l2                start a guest of its own, L2; it looks around and powers off
  l2 shell          the same, with a shell in L2
  dmesg | grep kvm  what KVM found out about its EL2
  poweroff -f       end the machine; so does Ctrl-A X, or leaving this shell
END
    ;;
L2)
    cat <<END
This is L2: Linux $(uname -r), a guest of L1's KVM. poweroff -f, or leaving this shell, ends it.
END
    ;;
esac
echo
"""

# `xl create -F` waits for the domain's end. Its console is in the log by then: it ends by a line
# that nobody looks for.
DOM0_INIT = (
    COMMON
    + r"""
mark dom0.userspace ok
mark dom0.kernel "$(uname -r)"
mark dom0.cpus "$(grep -c ^processor /proc/cpuinfo)"
mkdir -p /dev/pts /run/xen /var/lib/xen /var/log/xen/console /var/lock
ln -s /run /var/run
mount -t devpts devpts /dev/pts
for module in $(cat /modules/order); do
    insmod "/modules/$module" || mark dom0.error "$module cannot be loaded"
done
mount -t xenfs xenfs /proc/xen
xenstored && xen-init-dom0 && xenconsoled --log=guest --log-dir=/var/log/xen/console
mark dom0.services_status $?
xl create -F /domU/config
mark dom0.xl_status $?
awk '{ print "domU| " $0 }' /var/log/xen/console/guest-domU.log
mark dom0.end "$(uptime)"
sync
poweroff -f
"""
)

# The kernel keeps these two words for itself when it boots without an initramfs.
DISK_INIT = (
    COMMON
    + r"""
for word in $(cat /proc/cmdline); do
    case "$word" in
    root=*) disk=${word#root=} ;;
    init=*) next=${word#init=} ;;
    esac
done
insmod /modules/virtio_blk.ko
mkdir /new
if ! mount "${disk:=/dev/vda}" /new; then
    mark l1.error "$disk cannot be mounted; give root= and a disk"
    poweroff -f
fi
for folder in dev proc sys; do
    mount --move "/$folder" "/new/$folder"
done
exec switch_root /new "${next:-/sbin/init}"
"""
)
