//! How much memory a coder may take for a while: what is free below the control group's limit, or
//! on the machine. br 11 of a body of 9 MB takes 150 MB, which in a small sidecar would be the end of
//! the process.

/// Bytes that are free; `None`: nobody says.
pub(super) fn bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let group = limit(
        read("/sys/fs/cgroup/memory.max").as_deref(),
        read("/sys/fs/cgroup/memory.current").as_deref(),
    );
    let machine = read("/proc/meminfo").as_deref().and_then(available);
    match (group, machine) {
        (Some(group), Some(machine)) => Some(group.min(machine)),
        (one, other) => one.or(other),
    }
}

/// What is left below the limit of a control group (cgroup v2); `max` is none.
fn limit(most: Option<&str>, now: Option<&str>) -> Option<u64> {
    let number = |text: Option<&str>| text?.trim().parse::<u64>().ok();
    Some(number(most)?.saturating_sub(number(now)?))
}

/// `MemAvailable` of `/proc/meminfo`.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_is_read_as_the_kernel_writes_it() {
        assert_eq!(limit(Some("268435456\n"), Some("68435456\n")), Some(200_000_000));
        assert_eq!(limit(Some("100\n"), Some("200\n")), Some(0));
        assert_eq!(limit(Some("max\n"), Some("1\n")), None);
        assert_eq!(limit(None, Some("1\n")), None);
        let text = "MemTotal:  24684092 kB\nMemFree: 1 kB\nMemAvailable:   19993724 kB\n";
        assert_eq!(available(text), Some(19_993_724 * 1024));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
