//! How much memory is free on this machine.

use std::fs::read_to_string;
use std::path::Path;

/// Where version 2 of Linux's control groups is mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Four fifths of the memory that is free, in bytes; none where the system does not tell. A limit on
/// the group of processes or on one that it is in, as containers and batch systems set it, counts.
pub(crate) fn most_of_it() -> Option<u64> {
    let free = available(&read_to_string("/proc/meminfo").ok()?)?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit(Path::new(GROUPS), &groups);
    Some(free.min(limit.unwrap_or(u64::MAX)) / 5 * 4)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// The least limit on the group of version 2 in `/proc/self/cgroup` and all groups around it, in bytes.
fn limit(mount: &Path, groups: &str) -> Option<u64> {
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let around = Path::new(group).ancestors(); // the last is the mount itself
    let limits = around.map(|it| read_to_string(mount.join(it).join("memory.max")));
    limits.filter_map(|text| text.ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel() {
        let meminfo = "MemTotal:       24627564 kB\nMemAvailable:   20000000 kB\nBuffers: 1 kB\n";
        assert_eq!(available(meminfo), Some(20_480_000_000));
        assert_eq!(available("MemTotal: 24627564 kB\n"), None);
        assert_eq!(available("MemAvailable: many kB\n"), None);
    }

    #[test]
    fn the_least_limit_around_a_process() {
        let mount = tempfile::tempdir().unwrap();
        let write = |group: &str, text: &str| {
            std::fs::create_dir_all(mount.path().join(group)).unwrap();
            std::fs::write(mount.path().join(group).join("memory.max"), text).unwrap();
        };
        let groups = "4:memory:/of/version/1\n0::/slurm/job_7/step\n";
        assert_eq!(limit(mount.path(), groups), None);
        write("slurm/job_7/step", "max\n");
        write("slurm/job_7", "3000\n");
        write("slurm", "5000\n");
        assert_eq!(limit(mount.path(), groups), Some(3000));
        assert_eq!(limit(mount.path(), "0::/\n"), None);
        write("", "2000\n"); // what a container sees of its own
        assert_eq!(limit(mount.path(), groups), Some(2000));
        assert_eq!(limit(mount.path(), "0::/\n"), Some(2000));
    }
}
