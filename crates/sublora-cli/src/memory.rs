//! How much memory is free on this machine.

use std::fs::read_to_string;

/// Four fifths of the memory that is free, in bytes; none where the system does not tell. A limit on
/// the group of processes, as containers and batch systems set it, counts.
pub(crate) fn most_of_it() -> Option<u64> {
    let free = available(&read_to_string("/proc/meminfo").ok()?)?;
    let limit = read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    Some(free.min(limit.unwrap_or(u64::MAX)) / 5 * 4)
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
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
}
