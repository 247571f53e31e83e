"""What L1's process 1 does: a shell script. Its settings come on the kernel's command line."""

from vel2.guests.init_scripts import COMMON

__all__ = ("KILLED", "STRESS_INIT")

KILLED = "SIGKILL"

# Every third guest is ended somewhere in the middle, as `virsh destroy` would. Memory is compacted
# before each start, while the other guests run.
STRESS_INIT = (
    COMMON
    + r"""
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
seconds_now() { cut -d . -f 1 /proc/uptime; }
count() { awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat; }
put() { echo "$1" >"$2" 2>/dev/null; }
# Guests that do nothing, more than L0 has contexts: all contexts are in use then.
quiet() {
    for turn in $(seq "$idle"); do
        /stress 0 0 || mark "stress.failed_$1" "a guest that does nothing: status $?"
    done
    mark stress.quiet "$1"
    read -r _
}
lives() {
    turn=0 ended=0 killed=0
    while [ "$(seconds_now)" -lt "$until" ]; do
        turn=$((turn + 1))
        put 1 /proc/sys/vm/compact_memory
        if [ $((turn % 3)) = 0 ]; then
            timeout -s KILL 1 /stress $(($1 * 10000 + turn)) 60000
            status=$?
        else
            /stress $(($1 * 10000 + turn)) "$rounds"
            status=$?
        fi
        case $status in
        0) ended=$((ended + 1)) ;;
        137) killed=$((killed + 1)) ;;
        *) mark "stress.failed_$1_$turn" "status $status" ;;
        esac
    done
    echo "$ended $killed" >"/tmp/lives.$1"
}
quiet before
put 500 /sys/kernel/mm/ksm/pages_to_scan
put 20 /sys/kernel/mm/ksm/sleep_millisecs
put 1 /sys/kernel/mm/ksm/run
put 100 /sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
for name in pgmigrate_success thp_collapse_alloc thp_split_page cow_ksm; do
    eval "$name=$(count $name)"
done
until=$(($(seconds_now) + seconds))
for number in $(seq "$guests"); do
    lives "$number" &
done
wait
for name in pgmigrate_success thp_collapse_alloc thp_split_page cow_ksm; do
    eval "mark stress.$name $(($(count $name) - $name))"
done
mark stress.lives "$(cat /tmp/lives.* | awk '{ n += $1 } END { print n }')"
mark stress.killed "$(cat /tmp/lives.* | awk '{ n += $2 } END { print n }')"
put 2 /sys/kernel/mm/ksm/run
quiet after
poweroff -f
"""
)
