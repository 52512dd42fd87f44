"""Run a command in a guest that systemd has started: `python -m tests.systemd.guest CMD ...`.

The kernel is that of tests/socketcan/guest.py. The root is this machine's own file system below an
overlay in memory: the guest may install, enable and delete what it likes, nothing of it reaches the
machine. What this machine runs by itself is taken out: its own units, network files, sysctl files.
"""

import sys

from tests.socketcan.guest import main

NEEDED = {
    "/lib/systemd/systemd": "systemd",
    "udevadm": "udev",
    "dbus-daemon": "dbus",
    "sysctl": "procps",
}

# tmpfiles.d of Debian would empty /tmp, where the work tree may be: 1,000 files, one by one.
# systemd hands its own environment to no service: DefaultEnvironment= does (see ENVIRONMENT).
INIT = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -n -t proc proc /proc; mount -n -t sysfs sysfs /sys
for each in overlay autofs4 can-dev can can-raw vcan vxcan slcan; do
  modprobe -d {work} $each 2>>{work}/modprobe
done
set -eu  # a first process that ends is the end of the guest
mount -n -o remount,ro /  # from here on nothing can reach this machine's files
mount -n -t tmpfs -o mode=755,size=700M tmpfs /mnt; mkdir /mnt/upper /mnt/work /mnt/root
mount -n -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root
cd /mnt/root
rm -rf .dockerenv etc/systemd/* etc/init.d etc/rc?.d etc/fstab etc/modules var/log/journal \\
  etc/tmpfiles.d etc/sysctl.d etc/modules-load.d etc/binfmt.d etc/udev/rules.d etc/bms-agent \\
  opt/bms-agent
echo 0123456789abcdef0123456789abcdef >etc/machine-id  # it is no first boot
mkdir -p old etc/systemd/system.conf.d etc/systemd/network etc/systemd/system lib/modules \\
  etc/systemd/system-generators etc/tmpfiles.d etc/sysctl.d
ln -sfn /usr/lib/uml/modules/$(uname -r) lib/modules/$(uname -r)
for each in lib/systemd/system-generators/*; do  # each reload runs them all
  ln -s /dev/null etc/systemd/system-generators/${{each##*/}}
done
for each in tmp.conf x11.conf; do ln -s /dev/null etc/tmpfiles.d/$each; done
cd etc/systemd/system
for each in getty.target systemd-binfmt.service systemd-logind.service modprobe@.service \\
  systemd-user-sessions.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \\
  systemd-random-seed.service; do ln -s /dev/null $each; done
ln -s /lib/systemd/system/multi-user.target default.target
mkdir multi-user.target.wants; ln -s ../guest-command.service multi-user.target.wants/
printf '[Service]\\nType=exec\\nExecStart=/bin/sh {work}/serve\\n' >guest-command.service
printf '[Manager]\\nDefaultEnvironment=GLIBC_TUNABLES=%s OPENSSL_ia32cap=%s\\n' \\
  "$GLIBC_TUNABLES" '~0x1000100000000000:~0x6f0230020' >../system.conf.d/guest.conf
mkdir bms-agent.service.d  # the unit has a variable of the same name: both must be there
printf '[Service]\\nEnvironment=GLIBC_TUNABLES=glibc.malloc.tcache_count=0:%s\\n' \\
  "$GLIBC_TUNABLES" >bms-agent.service.d/guest.conf
cd /mnt/root
mount -n -t hostfs -o {work} none /mnt/root{work}
cat >/mnt/root{work}/serve <<'END'
stty -F /dev/ttyS0 raw -echo
: >{work}/up; sync
sh {work}/command </dev/null >/dev/ttyS0 2>&1
echo $? >{work}/status.part
timeout 10 stty -F /dev/ttyS0 cooked  # returns when all that was written is out
mv {work}/status.part {work}/status; sync
echo o >/proc/sysrq-trigger; sleep 10
END
for each in dev proc sys; do mount -n --move /$each $each; done
pivot_root . old; umount -n -l /old
exec /lib/systemd/systemd
"""

if __name__ == "__main__":
    sys.exit(main(INIT, NEEDED))
